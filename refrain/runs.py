"""Runs of words as numbers: what two texts have in common."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from refrain import ragged
from refrain.wording import MIXING, Counts, Long, Numbers, powers

Runs = Long  # a number of 44 bits for each run of words
BITS = np.uint64(44)


def around(words: Numbers, lengths: NDArray[Any], size: int) -> Runs:
    """For each word the run of `size` words around it, what lies beyond the two ends of its text counted as words."""
    shift = np.repeat(np.arange(len(lengths)) * (size - 1), lengths)  # each text has so many words more, all of them 0
    first = np.arange(len(words)) + shift
    padded = np.zeros(len(words) + len(lengths) * (size - 1), np.uint32)
    padded[first + (size - 1) // 2] = words
    found: Runs = everywhere(padded, size)[first]
    return found


def everywhere(words: Numbers, size: int) -> Runs:
    """The run of `size` words from each word on that has so many behind it, also where two texts meet."""
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum((words + np.uint64(1)) * powers(len(words)))])
    result = (sums[size:] - sums[:-size]) * powers(len(words), inverse=True)[: max(0, len(words) - size + 1)]
    return np.asarray((result ^ result >> np.uint64(29)) * MIXING >> (np.uint64(64) - BITS))


def inside(lengths: NDArray[Any], size: int) -> NDArray[np.bool_]:
    """Which of the runs that `everywhere` gives lie within one text."""
    text = np.repeat(np.arange(len(lengths)), lengths)
    return np.asarray(text[: max(0, len(text) - size + 1)] == text[size - 1 :])


def sets(runs: Runs, lengths: NDArray[Any]) -> tuple[Runs, Counts]:
    """Of each text the runs that differ, in order, and how many; at most 2**20 texts."""
    text = np.repeat(np.arange(len(lengths), dtype=np.uint64), lengths)
    both = ragged.once(text << BITS | runs)
    counts = np.bincount((both >> BITS).astype(np.int64), minlength=len(lengths))
    return both & np.uint64((1 << int(BITS)) - 1), counts
