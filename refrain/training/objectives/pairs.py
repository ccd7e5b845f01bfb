"""Pairs of conversations that differ in the last reply: a better one, and the one rejected for it."""

from dataclasses import dataclass, replace

from refrain.chat import examples as lessons
from refrain.chat.encoding import IGNORE_INDEX, ChatTokenizer, Features, encode_prompt
from refrain.chat.examples import Example
from refrain.chat.records import Row


@dataclass(frozen=True)
class PreferencePair:
    """One prompt with two replies; labelled is the last reply alone."""

    chosen: Features
    rejected: Features
    kl_examples: tuple[Features, ...] = ()  # the prompt with both replies of another pair
    began: tuple[float, ...] = ()  # log-probabilities of chosen, rejected and strangers before the first step


def features(chat: ChatTokenizer, rows: list[Row]) -> tuple[list[PreferencePair], dict[str, list[str]]]:
    """The pairs, and the ids of rows that are none; ValueError names the row that the template cannot take."""
    kept = [encode(chat, row) for row in rows if "rejected" in row]
    return kept, {"unpaired": [row["id"] for row in rows if "rejected" not in row]}


def examples(rows: list[Row], kept: list[PreferencePair]) -> list[Example]:
    """What `features` has made of the rows, with their words: both sides, of which the last reply is learned."""
    paired = [row for row in rows if "rejected" in row]
    return [
        lessons.example_of_last_reply(row["id"], messages, text)
        for row, pair in zip(paired, kept, strict=True)
        for messages, text in zip(lessons.list_conversations(row), (pair.chosen, pair.rejected), strict=True)
    ]


def require_pairs(kept: list[PreferencePair], left_out: dict[str, list[str]]) -> None:
    """ValueError when no row was a pair, though there were rows."""
    if left_out["unpaired"] and not kept:
        raise ValueError(f"data/prepared/train.jsonl: none of {len(left_out['unpaired'])} rows has a rejected reply; "
                         "choose method=lora, or a source with chosen and rejected")  # fmt: skip


def encode(chat: ChatTokenizer, row: Row) -> PreferencePair:
    """Both sides of a row that has them."""
    texts = [lessons.encode_row(chat, row["id"], messages) for messages in lessons.list_conversations(row)]
    start = len(encode_prompt(chat, row["messages"][:-1]))  # what `chat.features` has found both sides to begin with
    chosen, rejected = (with_labels(text, [IGNORE_INDEX] * start + text["labels"][start:]) for text in texts)
    return PreferencePair(chosen, rejected)


def with_labels(text: Features, labels: list[int]) -> Features:
    """The same text, asked about another part of it."""
    return {"input_ids": text["input_ids"], "labels": labels}


def complement(text: Features) -> Features:
    """The same text, labelled where it was not."""
    pairs = zip(text["input_ids"], text["labels"], strict=True)
    return with_labels(text, [token if label == IGNORE_INDEX else IGNORE_INDEX for token, label in pairs])


def prompt_length(text: Features) -> int:
    """How long the prompt is: the reply begins after so many tokens."""
    return next(place for place, label in enumerate(text["labels"]) if label != IGNORE_INDEX)


def with_kl_examples(pairs: list[PreferencePair]) -> list[PreferencePair]:
    """Each pair with the replies of the nearest one before it that has another prompt, going round.

    A stranger is cut where the longest text of all ends, so that none is longer than what a person allowed.
    """
    longest = max((len(text["input_ids"]) for pair in pairs for text in (pair.chosen, pair.rejected)), default=0)
    prompts = [pair.chosen["input_ids"][: prompt_length(pair.chosen)] for pair in pairs]
    others = [-back for back, asked in enumerate(reversed(prompts), 1) if asked != prompts[0]] or [-1]
    result, other = [], others[0]
    for at, pair in enumerate(pairs):
        if prompts[at - 1] != prompts[at]:
            other = at - 1
        replies = pairs[other].chosen, pairs[other].rejected
        result.append(
            replace(pair, kl_examples=tuple(prompt_with_reply_of(pair.chosen, reply, longest) for reply in replies))
        )
    return result


def prompt_with_reply_of(text: Features, other: Features, limit: int) -> Features:
    """The prompt of one text with the reply of the other, cut at `limit` tokens."""
    start, end = prompt_length(text), prompt_length(other)
    return {
        "input_ids": (text["input_ids"][:start] + other["input_ids"][end:])[:limit],
        "labels": ([IGNORE_INDEX] * start + other["labels"][end:])[:limit],
    }
