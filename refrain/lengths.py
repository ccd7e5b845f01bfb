"""How many tokens a row has, and what becomes of one that has too many: whole turns go, never a part of one."""

import json
import sys
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from refrain import bounds, lessons
from refrain.chat import Chat
from refrain.records import Message, Row
from refrain.rules import RowError


def fitted(talk: Chat, row: Row, limit: int, policy: str) -> tuple[Row, int]:
    """A row of at most `limit` tokens and how many it has; a row that fits comes back itself.

    One that does not is dropped (RowError), fails (ValueError), or is cut by whole turns. A chat loses its last turns,
    so that no reply that stays has lost what it refers to. A preference, learned by its last reply alone, loses the
    first ones behind the system's, as `refrain chat` forgets when the context is full.
    """
    size = tokens(talk, row, limit)
    if size <= limit:
        return row, size
    least = " or more" if replies(row["messages"]) > limit else ""
    there = f"the row has {size} tokens{least}, {limit} are allowed"
    if policy == "fail":
        raise ValueError(f"row {row['id']}: {there}; raise data.max_tokens, "
                         "or set data.policies.overlong to drop or cut")  # fmt: skip
    if policy == "drop":
        raise RowError("overlong", there)
    shorter = list(cuts(row, limit))  # from the shortest
    fits = bisect_right(shorter, limit, key=lambda each: tokens(talk, each, limit))
    if not fits:
        raise RowError("overlong", f"{there}, and no shorter part of it fits")
    return shorter[fits - 1], tokens(talk, shorter[fits - 1], limit)


def cuts(row: Row, limit: int) -> Iterator[Row]:
    """Parts of a conversation that end with a reply, each longer than the one before; no more than may fit."""
    messages = row["messages"]
    roles = [message["role"] for message in messages]
    told = roles.index("user")
    if "rejected" in row:
        system = [message for message in messages[:told] if message["role"] == "system"]
        starts = [i for i, (before, role) in enumerate(pairwise(roles), 1) if (before, role) == ("assistant", "user")]
        ways = [[*system, *messages[start:]] for start in starts[: -limit - 1 : -1] if start > told]
    else:
        ends = [i for i, role in enumerate(roles, 1) if role == "assistant" and i > told]
        ways = [messages[:end] for end in ends[:-1][:limit]]
    for part in ways:
        shorter = row.copy()
        shorter["messages"] = part
        yield shorter


def tokens(talk: Chat, row: Row, limit: int) -> int:
    """Of the row, of a preference on its longer side; above `limit` perhaps fewer than there are.

    For each reply has a token at least, its end marker's, and a row of more replies than that needs no counting.
    """
    if replies(row["messages"]) > limit:
        return replies(row["messages"])
    return max(len(lessons.encode(talk, row["id"], side)["input_ids"]) for side in lessons.sides(row))


def replies(messages: list[Message]) -> int:
    return sum(message["role"] == "assistant" for message in messages)


def certain(talk: Chat, row: Row, limit: int) -> bool:
    """Whether a row fits for certain, found without the tokenizer; True is always right, False may be a row that fits.

    A row that the template refuses is not certain.
    """
    if sum(len(message["content"]) for message in row["messages"]) > limit:
        return False
    try:
        return all(bounds.most(talk, side, limit) <= limit for side in lessons.sides(row))
    except ValueError:  # `fitted` says it, and of which row
        return False


def context(folder: Path) -> int:
    """How many tokens the model in a folder sees at once; sys.maxsize where it names no end."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return int(
        next((config[name] for name in ("max_position_embeddings", "n_positions") if name in config), sys.maxsize)
    )
