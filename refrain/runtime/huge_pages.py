"""Weights in huge pages: every token reads all of them, and the system gives small pages to who asks for no others.

ONNX Runtime has no setting for it, and glibc reads its own (GLIBC_TUNABLES) only when a process starts, so what a
session has allocated is moved once, after it has opened. Where the system cannot (Linux before 6.1, no memory in one
piece), and where small pages were asked for (a KV cache), they stay small. No number depends on it.
"""

import ctypes
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

MAPPINGS = Path("/proc/self/maps")
HUGE_PAGE = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
MADV_COLLAPSE = 25  # Linux's number; the module mmap does not name it
WORTHWHILE = 2**25  # bytes of weights: fewer stay in a processor's caches


@contextmanager
def use_huge_pages(weights: int) -> Iterator[None]:
    """Moves what is filled meanwhile for so many bytes of weights; nothing where the system has no huge pages."""
    if weights < WORTHWHILE or not (MAPPINGS.is_file() and HUGE_PAGE.is_file()):
        yield
        return
    size, before = int(HUGE_PAGE.read_text()), {*read_mappings()}
    yield
    for begin, end in {*read_mappings()} - before:
        move_full_pages(-(-begin // size) * size, end // size * size, size)


def move_full_pages(begin: int, end: int, size: int) -> None:
    """From one address to another those of a size that are all in memory: a huge page takes its memory whole."""
    if begin >= end:
        return
    libc, used = ctypes.CDLL(None), np.zeros((end - begin) // mmap.PAGESIZE, np.uint8)
    if libc.mincore(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), ctypes.c_void_p(used.ctypes.data)):
        return  # a part of it was given back in the meantime
    for i in np.flatnonzero(used.reshape(-1, size // mmap.PAGESIZE).all(1)):
        libc.madvise(ctypes.c_void_p(begin + int(i) * size), ctypes.c_size_t(size), MADV_COLLAPSE)


def read_mappings() -> Iterator[tuple[int, int]]:
    """The first address of each mapping of this process that no file backs, and the one behind its last."""
    for line in MAPPINGS.read_text().splitlines():
        address, access, _, _, inode, *name = line.split()
        if access == "rw-p" and inode == "0" and name in ([], ["[heap]"]):
            begin, end = (int(number, 16) for number in address.split("-"))
            yield begin, end
