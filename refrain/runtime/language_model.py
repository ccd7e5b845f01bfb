"""What a language model is, whatever runs it: ids in, logits out; greedy decoding and log-probabilities rest on it."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Logits = NDArray[np.float32]
Cache = Any  # whatever the model wants back with the next ids

SHRINKING = 0.75  # share of the rows of a batch at which those that have ended leave it


class LanguageModel(Protocol):
    """Logits after the last `keep` ids, 0 for all, of left-padded rows; `mask` covers past and ids.

    Cache None is an empty past; a cache is used up by the call that it is given to.
    """

    def forward(self, ids: Ids, mask: Ids, cache: Cache | None, keep: int = 0) -> tuple[Logits, Cache]: ...

    def select_rows(self, cache: Cache, rows: list[int]) -> Cache:
        """The cache of some rows in their order; the cache that it is given is used up."""

    def fork_row(self, cache: Cache, row: int) -> Cache | None:
        """A copy of what a row would have left alone, where the rows of a batch are fed so; else None."""


def greedy_decode(
    lm: LanguageModel, prompts: list[list[int]], max_new_tokens: int, stop_ids: frozenset[int]
) -> list[list[int]]:
    """The likeliest ids after each prompt, decoded as one batch: `max_new_tokens` at most, and those before an end."""
    replies = decode_until(lm, prompts, max_new_tokens, lambda reply: reply[-1] in stop_ids)
    return [reply[:-1] if reply and reply[-1] in stop_ids else reply for reply in replies]


def decode_until(
    lm: LanguageModel, prompts: list[list[int]], max_new_tokens: int, is_over: Callable[[list[int]], bool]
) -> list[list[int]]:
    """The likeliest ids after each prompt, decoded as one batch: until they are over, `max_new_tokens` at most."""
    if not prompts:
        return []
    ids, mask = left_pad(prompts)
    replies: list[list[int]] = [[] for _ in prompts]
    rows, running = list(range(len(prompts))), set(range(len(prompts)))  # by number of the prompt
    cache = None
    for _ in range(max_new_tokens):
        logits, cache = lm.forward(ids, mask, cache, keep=1)
        ids, mask = logits[:, -1:].argmax(axis=-1), extend_mask(mask)
        for number, token in zip(rows, map(int, ids[:, 0]), strict=True):
            if number in running:
                replies[number].append(token)
                if is_over(replies[number]):
                    running.discard(number)
        if not running:
            break
        left = [row for row, number in enumerate(rows) if number in running]
        if len(left) <= len(rows) * SHRINKING:
            cache = lm.select_rows(cache, left)
            ids, mask, rows = ids[left], mask[left], [rows[row] for row in left]
    return replies


def left_pad(prompts: list[list[int]]) -> tuple[Ids, Ids]:
    """Prompts as rows of equal width, filled up on the left, and the mask that hides the filling."""
    if not all(prompts):
        raise ValueError(f"prompt {prompts.index([]) + 1}: it has no ids; a model needs one to begin with")
    width = max(map(len, prompts))
    ids = [[0] * (width - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return np.array(ids, dtype=np.int64), np.array(mask, dtype=np.int64)


def extend_mask(mask: Ids) -> Ids:
    """The mask with one more id to see in each row."""
    return np.pad(mask, ((0, 0), (0, 1)), constant_values=1)


def log_softmax(logits: Logits) -> NDArray[np.float64]:
    """Log-probabilities over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))
