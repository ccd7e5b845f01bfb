"""Rows as arrays of token ids, as the train stage learns from them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from refrain.chat import encoding, examples, records
from refrain.chat.records import Row

Batch = dict[str, Any]  # input_ids, labels and attention_mask
Framework = Literal["np", "pt"]


def iterate_batches(rows: list[Row], folder: Path, size: int, framework: Framework) -> Iterator[Batch]:
    """Batches of `size` rows in their order, the last one perhaps smaller; padded on the right."""
    if size < 1:
        raise ValueError(f"size: {size} is out of range; give 1 or more")
    if framework not in ("np", "pt"):
        raise ValueError(f"return_tensors: {framework!r} is neither 'np' nor 'pt'")
    good_rows, _ = records.split_bad_replies(rows)
    tokenizer = encoding.ask_with_opening(encoding.load_tokenizer(folder), good_rows)
    padding = tokenizer.tokenizer.token_to_id(tokenizer.special_tokens.get("pad_token", "")) or 0
    return (
        as_framework(pad([examples.encode_row(tokenizer, row) for row in good_rows[start : start + size]], padding),
                     framework)
        for start in range(0, len(good_rows), size)
    )  # fmt: skip


def pad(encoded: list[encoding.Features], padding: int) -> dict[str, np.ndarray[Any, Any]]:
    """Three int64 arrays of rows by the longest row: ids, labels (-100: not learned), 1 for each token that is one."""
    longest = max(len(row["input_ids"]) for row in encoded)
    shape = len(encoded), longest
    ids, labels = np.full(shape, padding), np.full(shape, encoding.IGNORE_INDEX)
    mask = np.zeros(shape, np.int64)
    for number, row in enumerate(encoded):
        length = len(row["input_ids"])
        ids[number, :length], labels[number, :length], mask[number, :length] = row["input_ids"], row["labels"], 1
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}


def as_framework(arrays: dict[str, np.ndarray[Any, Any]], framework: Framework) -> Batch:
    """The arrays, or tensors of PyTorch that share their memory."""
    if framework == "np":
        return dict(arrays)
    import torch  # who asks for its tensors has it

    return {name: torch.from_numpy(array) for name, array in arrays.items()}
