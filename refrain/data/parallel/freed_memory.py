"""Memory that is freed: kept for the next item, as each page that the system has back is asked for anew, or not."""

import ctypes
from functools import cache

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of glibc's mallopt: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD


KEPT_BYTES, HEAP_BYTES = 1 << 28, 1 << 25  # that are kept at most; of a single array that comes from what is kept


@cache
def keep_freed_memory() -> None:
    """Have this process keep what it frees, where its C library can be told so; elsewhere nothing happens."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(MMAP_THRESHOLD, HEAP_BYTES)


def return_freed_memory() -> None:
    """Give the system back what this process has kept so, before a phase that wants other arrays."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
