"""Pairs of conversations that differ in the last reply: a better one, and the one rejected for it."""

from dataclasses import dataclass, replace

from refrain.chat.encoding import IGNORE_INDEX, ChatTokenizer, Features, encode_prompt
from refrain.chat.examples import Example, encode_row, example_of_last_reply, list_conversations
from refrain.chat.records import Row


@dataclass(frozen=True)
class PreferencePair:
    """One prompt with two replies; labelled is the last reply alone."""

    chosen: Features
    rejected: Features
    kl_examples: tuple[Features, ...] = ()  # the prompt with both replies of another pair
    reference_logprobs: tuple[float, ...] = ()  # of chosen, rejected and KL examples before the first step


def encode_rows(tokenizer: ChatTokenizer, rows: list[Row]) -> tuple[list[PreferencePair], dict[str, list[str]]]:
    """The pairs, and the ids of rows that are none; ValueError names the row that the template cannot take."""
    pairs = [encode_pair(tokenizer, row) for row in rows if "rejected" in row]
    return pairs, {"unpaired": [row["id"] for row in rows if "rejected" not in row]}


def examples(rows: list[Row], pairs: list[PreferencePair]) -> list[Example]:
    """What `encode_rows` has made of the rows, with their words: both sides, of which the last reply is learned."""
    paired = [row for row in rows if "rejected" in row]
    return [
        example_of_last_reply(row["id"], messages, features)
        for row, pair in zip(paired, pairs, strict=True)
        for messages, features in zip(list_conversations(row), (pair.chosen, pair.rejected), strict=True)
    ]


def require_pairs(pairs: list[PreferencePair], left_out: dict[str, list[str]]) -> None:
    """ValueError when no row was a pair, though there were rows."""
    if left_out["unpaired"] and not pairs:
        raise ValueError(f"data/prepared/train.jsonl: none of {len(left_out['unpaired'])} rows has a rejected reply; "
                         "choose method=lora, or a source with chosen and rejected")  # fmt: skip


def encode_pair(tokenizer: ChatTokenizer, row: Row) -> PreferencePair:
    """Both sides of a row that has them."""
    sides = [encode_row(tokenizer, row["id"], messages) for messages in list_conversations(row)]
    start = len(encode_prompt(tokenizer, row["messages"][:-1]))  # `encode_row` holds both sides to begin with it
    chosen, rejected = (with_labels(side, [IGNORE_INDEX] * start + side["labels"][start:]) for side in sides)
    return PreferencePair(chosen, rejected)


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


def with_kl_examples(pairs: list[PreferencePair]) -> list[PreferencePair]:
    """Each pair with the replies of the nearest one before it that has another prompt, going round.

    A KL example is cut where the longest text of all ends, so that none is longer than what a person allowed.
    """
    longest = max(
        (len(features["input_ids"]) for pair in pairs for features in (pair.chosen, pair.rejected)), default=0
    )
    prompts = [pair.chosen["input_ids"][: prompt_length(pair.chosen)] for pair in pairs]
    others = [-back for back, prompt in enumerate(reversed(prompts), 1) if prompt != prompts[0]] or [-1]
    result, other = [], others[0]
    for at, pair in enumerate(pairs):
        if prompts[at - 1] != prompts[at]:
            other = at - 1
        replies = pairs[other].chosen, pairs[other].rejected
        result.append(
            replace(pair, kl_examples=tuple(prompt_with_reply_of(pair.chosen, reply, longest) for reply in replies))
        )
    return result


def prompt_with_reply_of(features: Features, other: Features, limit: int) -> Features:
    """The prompt of one text with the reply of the other, cut at `limit` tokens."""
    start, end = prompt_length(features), prompt_length(other)
    return {
        "input_ids": (features["input_ids"][:start] + other["input_ids"][end:])[:limit],
        "labels": ([IGNORE_INDEX] * start + other["labels"][end:])[:limit],
    }
