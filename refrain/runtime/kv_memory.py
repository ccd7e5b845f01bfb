"""Room for keys and values of every sequence up to the whole context: the system gives a page when it is written to.

So nothing is moved to make room, a long sequence costs its neighbours nothing, and what one leaves is given back.
"""

import math
import mmap
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

PRIVATE = getattr(mmap, "MAP_PRIVATE", 0) | getattr(mmap, "MAP_ANONYMOUS", 0)
KVType = np.dtype[Any]
NO_RESERVE = 0x4000 if sys.platform == "linux" else 0  # a promise of room is no use of it; mmap names it from 3.13 on


class KVMemory:
    """An array [slots, heads, context, head_dim] of zeros, in fp32 or in 8 bits; before it in `rows` further rows."""

    def __init__(self, shape: tuple[int, int, int, int], kind: KVType, num_rows: int = 0) -> None:
        slots, *row_shape = shape
        size = max(1, (num_rows + slots) * math.prod(row_shape) * kind.itemsize)
        self._map = mmap.mmap(-1, size, flags=PRIVATE | NO_RESERVE) if PRIVATE else mmap.mmap(-1, size)
        if hasattr(mmap, "MADV_NOHUGEPAGE"):
            self._map.madvise(mmap.MADV_NOHUGEPAGE)  # one token would take 2 MB of every head
        self.rows: NDArray[Any] = np.frombuffer(self._map, kind).reshape(num_rows + slots, *row_shape)
        self.array, self._num_rows = self.rows[num_rows:], num_rows

    def release(self, slot: int, length: int) -> None:
        """Give back the pages of a slot behind its first tokens; what they held is zeros or stale, and never read."""
        if not hasattr(mmap, "MADV_DONTNEED"):
            return
        _, heads, context, head_dim = self.array.shape
        row, page = head_dim * self.array.itemsize, mmap.PAGESIZE
        for head in range((self._num_rows + slot) * heads, (self._num_rows + slot + 1) * heads):
            begin, end = (head * context + length) * row, (head * context + context) * row
            first, last = -(-begin // page) * page, end // page * page  # a page that is shared with another stays
            if first < last:
                self._map.madvise(mmap.MADV_DONTNEED, first, last - first)
