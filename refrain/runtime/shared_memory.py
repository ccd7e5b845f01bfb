"""Rows of a batch that share the keys and values of one sequence, so that each of several tokens is a row of its own.

What a sequence has drafted is fed as a step of many rows is: every product and every norm sees the rows that it sees
in company, which rounds none of them otherwise than alone. Attention writes the keys and values of all rows before it
reads any, so a token finds those of the tokens before it, in memory that lies at several addresses at once.
"""

import ctypes
import math
import mmap
import os
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refrain.runtime.kv_memory import KVType

SHARED = getattr(mmap, "MAP_SHARED", 0) | getattr(mmap, "MAP_ANONYMOUS", 0)
NO_RESERVE = 0x4000  # of Linux; mmap names it from 3.13 on
MAY_MOVE_TO_ADDRESS = 1 | 2  # MREMAP_MAYMOVE, MREMAP_FIXED
FAILED = ctypes.c_void_p(-1).value


class SharedKVMemory:
    """An array [slots, heads, context, head_dim] of zeros, and further rows, each with the memory of some slot.

    `rows` are the further ones and the slots behind them, `array` the slots alone. The first `num_own` of the further
    rows have memory of their own, the others at first that of slot 0. ValueError where no system call puts memory at
    two addresses.
    """

    def __init__(self, shape: tuple[int, int, int, int], kind: KVType, num_rows: int, num_own: int = 0) -> None:
        slots, heads, context, head_dim = shape
        unit = mmap.PAGESIZE // math.gcd(
            mmap.PAGESIZE, heads * head_dim * kind.itemsize
        )  # of tokens: rows are whole pages
        room = -(-context // unit) * unit
        self._row_bytes, self._num_rows = heads * room * head_dim * kind.itemsize, num_rows
        self._mremap = find_mremap()
        self._map = mmap.mmap(-1, (num_rows + slots) * self._row_bytes, flags=SHARED | NO_RESERVE)
        self.rows: NDArray[Any] = np.frombuffer(self._map, kind).reshape(-1, heads, room, head_dim)
        self.array = self.rows[num_rows:]
        for row in range(num_own, num_rows):
            self.share(row, 0)

    def share(self, row: int, slot: int) -> None:
        """Give a further row the memory of a slot."""
        address = self.rows.ctypes.data
        source, target = address + (self._num_rows + slot) * self._row_bytes, address + row * self._row_bytes
        if self._mremap(source, 0, self._row_bytes, MAY_MOVE_TO_ADDRESS, target) != target:  # 0: source stays as well
            reason = os.strerror(ctypes.get_errno())
            raise ValueError(f"prompt_lookup_num_tokens: memory is not shared here ({reason}); leave it out")

    def release(self, slot: int, length: int) -> None:
        """Give back the pages of a slot behind its first tokens; what they held is zeros or stale, and never read."""
        _, heads, room, head_dim = self.rows.shape
        token_bytes, page = head_dim * self.rows.itemsize, mmap.PAGESIZE
        for head in range(heads):
            start = ((self._num_rows + slot) * heads + head) * room
            first = -(-(start + length) * token_bytes // page) * page
            last = (start + room) * token_bytes // page * page
            if first < last:
                self._map.madvise(mmap.MADV_REMOVE, first, last - first)


class DraftRows:
    """Which slot each further row shares the memory of, in all layers; it stays until the row is needed elsewhere."""

    def __init__(self, memory: list[SharedKVMemory], num_rows: int) -> None:
        self._memory, self._num_rows = memory, num_rows
        self._slots = [0] * num_rows

    def place(self, counts: list[int]) -> list[list[int]]:
        """For each of the first slots its own row, and as many others as it wants, those next to the slots.

        The first token of each slot is in its own row, behind all others: where attention did not write all rows
        before it reads, no draft could be right, and `require_exact_rows` would tell.
        """
        wanted = Counter({slot: count for slot, count in enumerate(counts) if count})
        placed = [[self._num_rows + slot] for slot in range(len(counts))]
        free = []
        for row in range(self._num_rows - wanted.total(), self._num_rows):
            if wanted[slot := self._slots[row]] > 0:
                wanted[slot] -= 1
                placed[slot].append(row)
            else:
                free.append(row)
        for row, slot in zip(free, wanted.elements(), strict=True):
            for memory in self._memory:
                memory.share(row, slot)
            self._slots[row] = slot
            placed[slot].append(row)
        return placed


def find_mremap() -> "ctypes._NamedFuncPointer":
    """The call that puts memory at another address too; ValueError where the system has none."""
    try:
        mremap = ctypes.CDLL(None, use_errno=True).mremap
    except (AttributeError, TypeError) as error:  # of macOS and Windows
        raise ValueError("prompt_lookup_num_tokens: only Linux puts memory at two addresses; leave it out") from error
    mremap.restype = ctypes.c_void_p
    mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p]
    return mremap
