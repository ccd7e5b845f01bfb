"""Pairs of conversations that differ in the last reply: a better one, and the one rejected for it."""

from dataclasses import dataclass

from refrain.chat.encoding import IGNORE_INDEX, ChatTokenizer, Features, encode_last_prompt
from refrain.chat.examples import Example, encode_row, example_of_last_reply, list_conversations
from refrain.chat.records import Row, split_bad_replies


@dataclass(frozen=True)
class PreferencePair:
    """One prompt with two replies; labelled is the last reply alone."""

    chosen: Features
    rejected: Features
    reference_logprobs: tuple[float, ...] = ()  # of chosen and rejected before the first step


def encode_rows(tokenizer: ChatTokenizer, rows: list[Row]) -> tuple[list[PreferencePair], dict[str, list[str]]]:
    """The pairs, and the ids of rows that are none; ValueError names the row that the template cannot take."""
    sides = [encode_conversations(tokenizer, row) for row in rows if "rejected" in row]
    unpaired, bad_replies = split_bad_replies([row for row in rows if "rejected" not in row])
    pairs = [PreferencePair(chosen, rejected) for chosen, rejected in sides]
    return pairs, {"unpaired": [row["id"] for row in unpaired], **bad_replies}


def examples(rows: list[Row], pairs: list[PreferencePair]) -> list[Example]:
    """What `encode_rows` has made of the rows, with their words: both sides, of which the last reply is learned."""
    paired = [row for row in rows if "rejected" in row]
    return [
        example_of_last_reply(row, messages, features)
        for row, pair in zip(paired, pairs, strict=True)
        for messages, features in zip(list_conversations(row), (pair.chosen, pair.rejected), strict=True)
    ]


def require_pairs(rows: list[Row], pairs: list[PreferencePair]) -> None:
    """ValueError when no row is a pair, though there are rows."""
    if rows and not pairs:
        has_label = any("label" in row for row in rows)
        way_out = "method=kto, which learns from rows with a label" if has_label else "method=lora"
        raise ValueError(f"data/prepared/train.jsonl: none of {len(rows)} rows has a rejected reply; "
                         f"choose {way_out}, or a source with chosen and rejected")  # fmt: skip


def encode_conversations(tokenizer: ChatTokenizer, row: Row) -> list[Features]:
    """The conversations of a row, which differ in the last reply; that alone is labelled."""
    conversations = [encode_row(tokenizer, row, messages) for messages in list_conversations(row)]
    start = len(encode_last_prompt(tokenizer, row))  # `encode_row` holds all to begin with it
    return [with_labels(each, [IGNORE_INDEX] * start + each["labels"][start:]) for each in conversations]


def with_labels(features: Features, labels: list[int]) -> Features:
    """The same text, asked about another part of it."""
    return {"input_ids": features["input_ids"], "labels": labels}


def complement_labels(features: Features) -> Features:
    """The same text, labelled where it was not."""
    tokens = zip(features["input_ids"], features["labels"], strict=True)
    return with_labels(features, [token if label == IGNORE_INDEX else IGNORE_INDEX for token, label in tokens])


def prompt_length(features: Features) -> int:
    """How long the prompt is: the reply begins after so many tokens."""
    return next(place for place, label in enumerate(features["labels"]) if label != IGNORE_INDEX)


def prompt_with_reply_of(features: Features, other: Features, limit: int) -> Features:
    """The prompt of one text with the reply of the other, cut at `limit` tokens."""
    start, end = prompt_length(features), prompt_length(other)
    return {
        "input_ids": (features["input_ids"][:start] + other["input_ids"][end:])[:limit],
        "labels": ([IGNORE_INDEX] * start + other["labels"][end:])[:limit],
    }
