"""Huge pages under what fills its memory, and small ones under what does not, or asks for them."""

import ctypes
import mmap
from pathlib import Path

import numpy as np
import pytest

from refrain.runtime import huge_pages
from refrain.runtime.kv_memory import KVMemory

SIZE = 2**24
CONTENT = bytes(range(256)) * (SIZE // 256)
PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


def address(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def private_memory(size: int) -> mmap.mmap:
    """A mapping of its own: with a flag that others lack, the system does not join it to a neighbour."""
    memory = mmap.mmap(-1, size, flags=PRIVATE)
    memory.madvise(mmap.MADV_DONTFORK)
    return memory


def huge_bytes(place: int) -> int:
    """What of the mapping that holds an address lies in huge pages."""
    is_there = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in (first := line.split()[0]):
            begin, end = (int(number, 16) for number in first.split("-"))
            is_there = begin <= place < end
        elif is_there and first == "AnonHugePages:":
            return int(line.split()[1]) * 1024
    raise LookupError(hex(place))


def resident(memory: mmap.mmap) -> int:
    """The bytes of it that are in memory."""
    used = np.zeros(len(memory) // mmap.PAGESIZE, np.uint8)
    ctypes.CDLL(None).mincore(
        ctypes.c_void_p(address(memory)), ctypes.c_size_t(len(memory)), ctypes.c_void_p(used.ctypes.data)
    )
    return int(used.sum()) * mmap.PAGESIZE


@pytest.fixture(scope="module", autouse=True)
def _collapse() -> None:
    """A system that moves a page that is in use when it is asked."""
    if not huge_pages.HUGE_PAGE.is_file():
        pytest.skip("this system has no huge pages")
    size = int(huge_pages.HUGE_PAGE.read_text())
    probe = mmap.mmap(-1, 2 * size, flags=PRIVATE)
    probe[:] = bytes(2 * size)
    first = -(-address(probe) // size) * size
    if ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(size), huge_pages.MADV_COLLAPSE):
        pytest.skip("this system moves nothing into huge pages: Linux before 6.1, or no memory in one piece")


def test_memory_that_is_filled_meanwhile_moves_into_huge_pages_and_keeps_its_bytes() -> None:
    with huge_pages.use_huge_pages(huge_pages.WORTHWHILE):
        memory = private_memory(SIZE)
        memory[:] = CONTENT
    assert huge_bytes(address(memory)) >= SIZE / 2
    assert memory[:] == CONTENT


def test_weights_that_stay_in_caches_move_nothing() -> None:
    with huge_pages.use_huge_pages(huge_pages.WORTHWHILE - 1):
        memory = private_memory(SIZE)
        memory[:] = CONTENT
    assert huge_bytes(address(memory)) == 0


def test_memory_that_is_not_in_use_takes_no_more() -> None:
    with huge_pages.use_huge_pages(huge_pages.WORTHWHILE):
        memory = private_memory(4 * SIZE)
        for place in range(0, 4 * SIZE, 4 * mmap.PAGESIZE):
            memory[place] = 1
    assert resident(memory) <= 2 * SIZE


def test_a_kv_cache_stays_in_small_pages() -> None:
    with huge_pages.use_huge_pages(huge_pages.WORTHWHILE):
        cache = KVMemory((1, 1, SIZE // 256, 64), np.dtype(np.float32))
        cache.array[:] = 1
    assert huge_bytes(cache.array.ctypes.data) == 0
