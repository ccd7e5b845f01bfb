"""Many short rows of numbers in one flat array, in memory or in a file."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


MAX_WASTE = 4  # times what is wanted may be read with it


@dataclass(frozen=True)
class FileArray:
    """The numbers in a file, read when a slice of them is asked for: pages of a mapped file would count as memory."""

    descriptor: int  # its descriptor
    dtype: Any

    def __getitem__(self, part: slice) -> Array:
        size = np.dtype(self.dtype).itemsize
        return np.frombuffer(os.pread(self.descriptor, (part.stop - part.start) * size, part.start * size), self.dtype)


@dataclass(frozen=True)
class RaggedArray:
    """Row i is `flat[begins[i]:ends[i]]`; there may be others between them."""

    flat: Array | FileArray
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, row: int) -> Array:
        return self.flat[self.starts[row] : self.ends[row]]

    def lengths(self) -> NDArray[np.int64]:
        return self.ends - self.starts

    def select(self, rows: Array) -> "RaggedArray":
        """The named rows, without a copy of what is in them."""
        return RaggedArray(self.flat, self.starts[rows], self.ends[rows])

    def batches(self, rows: Array, max_elements: int = 1 << 18) -> Iterator[Array]:
        """The named rows, few enough at a time to hold so many elements; a longer row alone."""
        batch = np.cumsum(self.ends[rows] - self.starts[rows] + 1) // max_elements  # one more for empty rows
        yield from np.split(rows, np.flatnonzero(np.diff(batch)) + 1)

    def contiguous_batches(self, max_elements: int) -> Iterator[Array]:
        """All rows in batches, each without anything between its rows."""
        for rows in self.batches(np.arange(len(self)), max_elements):
            yield from np.split(rows, np.flatnonzero(self.starts[rows[1:]] != self.ends[rows[:-1]]) + 1)

    def gather(self, rows: Array) -> tuple[Array, NDArray[np.int64]]:
        """The named rows one after the other, and the length of each."""
        starts, ends = self.starts[rows], self.ends[rows]
        lengths = ends - starts
        low, high = (int(starts.min()), int(ends.max())) if len(rows) else (0, 0)
        if np.array_equal(starts[1:], ends[:-1]):  # nothing between them
            return self.flat[low:high], lengths
        if isinstance(self.flat, FileArray) and high - low > MAX_WASTE * lengths.sum():
            return np.concatenate([self[row] for row in rows]), lengths
        shift = starts - low - (np.cumsum(lengths) - lengths)
        return self.flat[low:high][np.arange(lengths.sum()) + np.repeat(shift, lengths)], lengths


def sorted_unique(numbers: Array) -> Array:
    """Each of the numbers once, in order; several times as fast as numpy's hash table, and smaller."""
    ordered = np.sort(numbers)
    return ordered[is_first_of_equals(ordered)]


def is_first_of_equals(ordered: Array) -> NDArray[np.bool_]:
    """For each number whether none before it is equal, where equal ones stand together."""
    return np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)]


def from_lengths(flat: Array | FileArray, lengths: Array, start: int = 0) -> RaggedArray:
    """Rows of these lengths, one after the other."""
    ends = start + np.cumsum(lengths, dtype=np.int64)
    return RaggedArray(flat, ends - lengths, ends)
