"""Supervised fine-tuning: next-token loss on the assistant's words. The module is the objective."""

from typing import Any

import torch

from refrain.chat.encoding import ChatTokenizer, Features
from refrain.chat.examples import Example, encode_row, example_of_all_replies
from refrain.chat.records import Row, split_bad_replies
from refrain.training.objectives.logprobs import LogprobFunction, count_labels


def encode_rows(tokenizer: ChatTokenizer, rows: list[Row]) -> tuple[list[Features], dict[str, list[str]]]:
    """What the model learns from, of every row whose reply is no bad one; ValueError names the row that the template
    cannot take."""
    good_rows, bad_replies = split_bad_replies(rows)
    encoded = [encode_row(tokenizer, row) for row in good_rows]
    return encoded, {"unpaired": [], **bad_replies}


def require_rows(rows: list[Row], encoded: list[Features]) -> None:
    """ValueError when every row has a bad reply."""
    if rows and not encoded:
        raise ValueError(f"data/prepared/train.jsonl: all {len(rows)} rows have a bad reply (label false); "
                         "choose method=kto, which learns from those too, or a source with good replies")  # fmt: skip


def examples(rows: list[Row], encoded: list[Features]) -> list[Example]:
    """What `encode_rows` has made of the rows, with their words: every reply is learned."""
    good_rows, _ = split_bad_replies(rows)
    return [example_of_all_replies(row, features) for row, features in zip(good_rows, encoded, strict=True)]


def token_count(row: Features) -> int:
    """What a row costs in a forward pass."""
    return len(row["input_ids"])


def label_count(row: Features) -> int:
    """How many tokens of a row are labelled."""
    return count_labels(row)


def normaliser(rows: list[Features]) -> float:
    """The supervised tokens of a step: each counts the same, in whichever row it stands."""
    return float(sum(map(count_labels, rows)))


def prepare(logprobs: LogprobFunction, rows: list[Features]) -> list[Features]:
    """The rows as they are: no other model is needed."""
    return rows


def step_context(logprobs: LogprobFunction, rows: list[Features]) -> None:
    """Nothing: the loss of a token depends on its own row alone."""


def loss(logprobs: LogprobFunction, rows: list[Features], context: Any) -> torch.Tensor:
    """Negative log-likelihood, summed over all supervised tokens."""
    return -logprobs(rows).sum()
