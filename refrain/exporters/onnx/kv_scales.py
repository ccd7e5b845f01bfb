"""Keys and values in 8 bits: one scale for each channel, from what the fp32 graph keeps of training rows.

Held-out rows prove a variant, so they have no part in it. A scale is a power of the fourth root of two, so that what
another processor rounds otherwise gives the same bytes; what lies farther from 0 than any that was seen is cut off.
"""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import numpy as np

from refrain.chat import encoding
from refrain.chat.encoding import ChatTokenizer
from refrain.chat.records import Row
from refrain.exporters.architectures.decoder import Array
from refrain.runtime.compact_session import CompactSession
from refrain.runtime.loading import load_model

log = logging.getLogger(__name__)

ROWS, MAX_TOKENS = 32, 256  # of training rows, and of each
HEADROOM = 1.25  # for keys and values that are farther from 0 than any of these
CODES = 127  # on either side of 0
STEPS = 4  # scales to a doubling


class CacheScales:
    """The scales of a model's cache, measured once, when a variant asks for them."""

    def __init__(self, fp32: Path, tokenizer: ChatTokenizer, prepared: Path) -> None:
        self._fp32, self._tokenizer, self._prepared = fp32, tokenizer, prepared
        self._scales: list[Array] = []

    def scales_for(self, kv_bits: int) -> list[Array]:
        """Of each layer keys, then values, [1, kv_heads, 1, head_dim]; none where the cache is in fp32."""
        if kv_bits == 8 and not self._scales:
            start, sequences = monotonic(), training_sequences(self._tokenizer, self._prepared)
            self._scales = measure_scales(self._fp32, sequences)
            log.info("keys and values of %d training rows: measured in %.1f s", len(sequences), monotonic() - start)
        return self._scales if kv_bits == 8 else []


def measure_scales(fp32: Path, sequences: list[list[int]]) -> list[Array]:
    """The scales with which what an fp32 graph keeps of the sequences fits into 8 bits."""
    lm = load_model(fp32)
    if not isinstance(lm, CompactSession):
        raise ValueError("kv_bits=8 needs the compact graph: what optimum traces keeps keys and values in fp32")
    slots = lm.allocate_slots(1)
    largest: list[Array] = []
    for ids in sequences:
        slots.crop(0, 0)
        slots.prefill(0, np.array(ids[: min(MAX_TOKENS, lm.context)], dtype=np.int64))
        found = [np.abs(values).max(axis=1) for values in slots.keys_and_values(0)]
        largest = [np.maximum(*pair) for pair in zip(largest, found, strict=True)] if largest else found
    return [round_up(values * np.float32(HEADROOM / CODES))[None, :, None] for values in largest]


def round_up(scales: Array) -> Array:
    """The next power of the fourth root of two; 1 for channels in which there is nothing."""
    exponents = np.ceil(np.log2(np.where(scales > 0, scales, np.float32(1))) * STEPS) / STEPS
    return np.asarray(np.exp2(exponents), dtype=np.float32)


def training_sequences(tokenizer: ChatTokenizer, prepared: Path) -> list[list[int]]:
    """Ids of training rows, prompt and reply, from all over their file."""
    rows = spread_rows(prepared / "train.jsonl", ROWS)
    return [encoding.encode_conversation(tokenizer, row["messages"], row.get("tools"))["input_ids"] for row in rows]


def spread_rows(path: Path, count: int) -> Iterator[Row]:
    """Up to so many rows, each the first behind an equal share of the file's bytes, without reading the others."""
    size, last = path.stat().st_size, -1
    with path.open("rb") as file:
        for share in range(count):
            if share:
                file.seek(max(0, size * share // count - 1))
                file.readline()
            place, line = file.tell(), file.readline()
            if line and place > last:
                last = place
                yield json.loads(line)
