"""At most how many tokens a text can have, from its bytes alone.

A token is one byte of text or more, whatever the merges: what a model does not know becomes one token for a character,
or one for each of its bytes. Three things break that rule and are looked for: normal forms that make a character of
several (never of one that is ASCII), blanks that a tokenizer puts before a text, and control tokens, which are one
token each however long.

How many tokens a row has, and what becomes of one that has too many: whole turns go, never a part of one.
"""

import json
import math
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from refrain.chat import encoding, examples, templates
from refrain.chat.encoding import ChatTokenizer
from refrain.chat.records import Message, Row
from refrain.data.shapes.errors import RowError

BLANK = "▁"  # what SentencePiece has for a blank: one token, if it is in the vocabulary


REMOVING_STEPS = {"Strip", "StripAccents"}


SPLITTING_STEPS = {
    "Split",
    "Digits",
    "Punctuation",
    "Whitespace",
    "WhitespaceSplit",
    "CharDelimiterSplit",
    "UnicodeScripts",
}


ASCII_STEPS = {"NFC", "NFD", "NFKC", "NFKD", "Lowercase"}  # it is as long afterwards


class TokenizerGrowth(NamedTuple):
    """How a tokenizer may make more tokens of a text than the text has bytes."""

    needs_ascii: bool  # the rule holds for no other text
    adds_prefix: bool  # a blank is put before each text between two control tokens
    has_whole_control_tokens: bool  # a control token of the template is one token for certain


def token_upper_bound(talk: ChatTokenizer, messages: list[Message], enough: int = 0) -> float:
    """No fewer than the tokens of a conversation; infinite where no bound is known.

    It may be larger than it need be where it is not above `enough`, which is quicker to find.
    """
    growth = tokenizer_growth(talk.tokenizer)
    plain = growth is not None and not (growth.needs_ascii or growth.adds_prefix)
    if (
        plain
        and (rough := len(templates.render_template(talk.template, messages, talk.special_tokens).encode())) <= enough
    ):
        return rough
    text, typed = encoding.render_conversation(talk, messages)
    if growth is None or (growth.needs_ascii and not text.isascii()):
        return math.inf
    found = [(each.start(), len(each[0].encode()) - 1) for each in talk.index.control_pattern.finditer(text)]
    own = {at for at, _ in found}.difference(typed)
    saved = sum(spare for at, spare in found if at in own) if growth.has_whole_control_tokens else 0
    return len(text.encode()) - saved + (len(found) + 1) * growth.adds_prefix


@lru_cache(maxsize=4)
def tokenizer_growth(tokenizer: Tokenizer) -> TokenizerGrowth | None:
    """What a tokenizer does to a text, as far as it is known to keep or to shorten it; None if not."""
    shape = json.loads(tokenizer.to_str())
    parts = [*flatten_steps(shape["normalizer"]), *flatten_steps(shape["pre_tokenizer"])]
    kinds = {str(part["type"]) for part in parts}
    prefixed = any(part.get("prepend") or part.get("prepend_scheme", "never") != "never" for part in parts)
    plain = [token["content"] for token in shape["added_tokens"] if not token["special"]]
    whole = all(is_found_anywhere(token, plain) for token in shape["added_tokens"] if token["special"])
    if (
        not all(keeps_length(part, tokenizer) for part in parts)
        or ("ByteLevel" in kinds and shape["model"].get("byte_fallback"))  # a byte is a letter of two bytes there
        or (prefixed and (plain or (len(flatten_steps(shape["pre_tokenizer"])) > 1)))
    ):
        return None
    return TokenizerGrowth(bool(kinds & ASCII_STEPS), prefixed, whole)


def flatten_steps(part: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The steps of a part of a tokenizer, in their order."""
    if part is None:
        return []
    steps = part.get("normalizers", part.get("pretokenizers"))
    return [part] if steps is None else [each for step in steps for each in flatten_steps(step)]


def keeps_length(part: dict[str, Any], tokenizer: Tokenizer) -> bool:
    """Whether a step makes no more tokens possible than `Growth` says."""
    match part:
        case {"type": "ByteLevel"}:
            return not part.get("add_prefix_space", False)
        case {"type": "Prepend", "prepend": text} | {"type": "Metaspace", "replacement": text}:
            return text == BLANK and tokenizer.token_to_id(BLANK) is not None
        case {"type": "Replace", "pattern": {"String": " "}, "content": text}:
            return text == BLANK and tokenizer.token_to_id(BLANK) is not None
    return part["type"] in REMOVING_STEPS | SPLITTING_STEPS | ASCII_STEPS


def is_found_anywhere(token: dict[str, Any], others: list[str]) -> bool:
    """Whether a control token is found wherever it is written: no other added token can take a part of it."""
    text = str(token["content"])
    taken = any(text in each or any(text.startswith(each[i:]) for i in range(1, len(each))) for each in others)
    return not (token["normalized"] or token["single_word"] or taken)


def fit_to_limit(talk: ChatTokenizer, row: Row, limit: int, policy: str) -> tuple[Row, int]:
    """A row of at most `limit` tokens and how many it has; a row that fits comes back itself.

    One that does not is dropped (RowError), fails (ValueError), or is cut by whole turns. A chat loses its last turns,
    so that no reply that stays has lost what it refers to. A preference, learned by its last reply alone, loses the
    first ones behind the system's, as `refrain chat` forgets when the context is full.
    """
    size = count_tokens(talk, row, limit)
    if size <= limit:
        return row, size
    least = " or more" if count_replies(row["messages"]) > limit else ""
    there = f"the row has {size} tokens{least}, {limit} are allowed"
    if policy == "fail":
        raise ValueError(f"row {row['id']}: {there}; raise data.max_tokens, "
                         "or set data.policies.overlong to drop or cut")  # fmt: skip
    if policy == "drop":
        raise RowError("overlong", there)
    shorter = list(shorter_versions(row, limit))  # from the shortest
    fits = bisect_right(shorter, limit, key=lambda each: count_tokens(talk, each, limit))
    if not fits:
        raise RowError("overlong", f"{there}, and no shorter part of it fits")
    return shorter[fits - 1], count_tokens(talk, shorter[fits - 1], limit)


def shorter_versions(row: Row, limit: int) -> Iterator[Row]:
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


def count_tokens(talk: ChatTokenizer, row: Row, limit: int) -> int:
    """Of the row, of a preference on its longer side; above `limit` perhaps fewer than there are.

    For each reply has a token at least, its end marker's, and a row of more replies than that needs no counting.
    """
    if count_replies(row["messages"]) > limit:
        return count_replies(row["messages"])
    return max(
        len(examples.encode_row(talk, row["id"], side)["input_ids"]) for side in examples.list_conversations(row)
    )


def count_replies(messages: list[Message]) -> int:
    return sum(message["role"] == "assistant" for message in messages)


def surely_fits(talk: ChatTokenizer, row: Row, limit: int) -> bool:
    """Whether a row fits for certain, found without the tokenizer; True is always right, False may be a row that fits.

    A row that the template refuses is not certain.
    """
    if sum(len(message["content"]) for message in row["messages"]) > limit:
        return False
    try:
        return all(token_upper_bound(talk, side, limit) <= limit for side in examples.list_conversations(row))
    except ValueError:  # `fitted` says it, and of which row
        return False
