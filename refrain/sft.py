"""Supervised fine-tuning: next-token loss on the assistant's words."""

import torch
from torch.nn.utils.rnn import pad_sequence

from refrain.chat import IGNORE, Chat, Features
from refrain.chat import features as encode
from refrain.records import Row


def features(chat: Chat, rows: list[Row], limit: int) -> tuple[list[Features], list[str]]:
    """What the model learns from, and the ids of the rows longer than `limit` tokens: no answer is cut.

    ValueError names the row that the template cannot take.
    """
    kept, overlong = [], []
    for row in rows:
        try:
            example = encode(chat, row["messages"])
        except ValueError as error:
            raise ValueError(f"row {row['id']}: {error}") from error
        if len(example["input_ids"]) > limit:
            overlong.append(row["id"])
        else:
            kept.append(example)
    return kept, overlong


def collate(rows: list[Features]) -> dict[str, torch.Tensor]:
    """A batch [rows, tokens] padded on the right; padding is neither attended to nor learned."""
    ids = [torch.tensor(row["input_ids"]) for row in rows]
    labels = [torch.tensor(row["labels"]) for row in rows]
    return {
        "input_ids": pad_sequence(ids, batch_first=True),
        "attention_mask": pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
        "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORE),
    }
