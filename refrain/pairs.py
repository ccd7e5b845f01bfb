"""Pairs of conversations that differ in the last reply: a better one, and the one rejected for it."""

from dataclasses import dataclass, replace

from refrain import sft
from refrain.chat import IGNORE, Chat, Features, prompt
from refrain.records import Message, Row


@dataclass(frozen=True)
class Pair:
    """One prompt with two replies; labelled is the last reply alone."""

    chosen: Features
    rejected: Features
    strangers: tuple[Features, ...] = ()  # the prompt with both replies of another pair
    began: tuple[float, ...] = ()  # log-probabilities of chosen, rejected and strangers before the first step


def features(chat: Chat, rows: list[Row], limit: int) -> tuple[list[Pair], dict[str, list[str]]]:
    """The pairs, and by reason the ids of rows that are none or have a side longer than `limit` tokens.

    ValueError names the row that the template cannot take.
    """
    kept: list[Pair] = []
    left_out: dict[str, list[str]] = {"overlong": [], "unpaired": []}
    for row in rows:
        if "rejected" not in row:
            left_out["unpaired"].append(row["id"])
            continue
        pair = encode(chat, row)
        if max(map(sft.tokens, (pair.chosen, pair.rejected))) > limit:
            left_out["overlong"].append(row["id"])
        else:
            kept.append(pair)
    return kept, left_out


def require(kept: list[Pair], left_out: dict[str, list[str]]) -> None:
    """ValueError when no row was a pair, though there were rows."""
    if left_out["unpaired"] and not kept and not left_out["overlong"]:
        raise ValueError(f"data/prepared/train.jsonl: none of {len(left_out['unpaired'])} rows has a rejected reply; "
                         "choose method=lora, or a source with chosen and rejected")  # fmt: skip


def encode(chat: Chat, row: Row) -> Pair:
    """Both sides of a row that has them."""
    *asked, better = row["messages"]
    worse: Message = {"role": better["role"], "content": row["rejected"]}
    sides = [sft.encode(chat, row["id"], [*asked, reply]) for reply in (better, worse)]
    start = len(prompt(chat, asked))  # what `chat.features` has found both sides to begin with
    chosen, rejected = (labelled(side, [IGNORE] * start + side["labels"][start:]) for side in sides)
    return Pair(chosen, rejected)


def labelled(text: Features, labels: list[int]) -> Features:
    """The same text, asked about another part of it."""
    return {"input_ids": text["input_ids"], "labels": labels}


def rest(text: Features) -> Features:
    """The same text, labelled where it was not."""
    pairs = zip(text["input_ids"], text["labels"], strict=True)
    return labelled(text, [token if label == IGNORE else IGNORE for token, label in pairs])


def opening(text: Features) -> int:
    """How long the prompt is: the reply begins after so many tokens."""
    return next(place for place, label in enumerate(text["labels"]) if label != IGNORE)


def with_strangers(pairs: list[Pair], limit: int) -> list[Pair]:
    """Each pair with the replies of the nearest one before it that has another prompt, going round."""
    prompts = [pair.chosen["input_ids"][: opening(pair.chosen)] for pair in pairs]
    others = [-back for back, asked in enumerate(reversed(prompts), 1) if asked != prompts[0]] or [-1]
    result, other = [], others[0]
    for at, pair in enumerate(pairs):
        if prompts[at - 1] != prompts[at]:
            other = at - 1
        replies = pairs[other].chosen, pairs[other].rejected
        result.append(replace(pair, strangers=tuple(crossed(pair.chosen, reply, limit) for reply in replies)))
    return result


def crossed(text: Features, other: Features, limit: int) -> Features:
    """The prompt of one text with the reply of the other, cut at `limit` tokens."""
    start, end = opening(text), opening(other)
    return {
        "input_ids": (text["input_ids"][:start] + other["input_ids"][end:])[:limit],
        "labels": ([IGNORE] * start + other["labels"][end:])[:limit],
    }
