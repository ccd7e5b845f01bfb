"""Supervised fine-tuning: next-token loss on the assistant's words. The module is the objective."""

from typing import Any

import torch

from refrain.chat import Chat, Features
from refrain.chat import features as chat_features
from refrain.likelihood import Ask, supervised
from refrain.records import Message, Row


def features(chat: Chat, rows: list[Row], limit: int) -> tuple[list[Features], dict[str, list[str]]]:
    """What the model learns from, and by reason the ids of the others: rows longer than `limit`, for no answer is cut.

    ValueError names the row that the template cannot take.
    """
    kept: list[Features] = []
    overlong = []
    for row in rows:
        example = encode(chat, row["id"], row["messages"])
        if tokens(example) > limit:
            overlong.append(row["id"])
        else:
            kept.append(example)
    return kept, {"overlong": overlong, "unpaired": []}


def encode(chat: Chat, name: str, messages: list[Message]) -> Features:
    """A conversation of the row of that name, which a ValueError gives."""
    try:
        return chat_features(chat, messages)
    except ValueError as error:
        raise ValueError(f"row {name}: {error}") from error


def tokens(row: Features) -> int:
    """What a row costs in a forward pass."""
    return len(row["input_ids"])


def learned(row: Features) -> int:
    """How many tokens of a row are labelled."""
    return supervised(row)


def weight(rows: list[Features]) -> float:
    """The supervised tokens of a step: each counts the same, in whichever row it stands."""
    return float(sum(map(supervised, rows)))


def begin(ask: Ask, rows: list[Features]) -> list[Features]:
    """The rows as they are: no other model is needed."""
    return rows


def context(ask: Ask, rows: list[Features]) -> None:
    """Nothing: the loss of a token depends on its own row alone."""


def loss(ask: Ask, rows: list[Features], context: Any) -> torch.Tensor:
    """Negative log-likelihood, summed over all supervised tokens."""
    return -ask(rows).sum()
