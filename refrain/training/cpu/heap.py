"""Memory that a step has used is kept for the next one: asking the system for it again costs a tenth of the time."""

import ctypes
import os

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of mallopt(3)
NEVER = -1  # to give back what is free at the end of the heap
MOST = 1 << 30  # bytes: tensors below it come from the heap


def keep_freed_memory() -> None:
    """Until the process ends glibc returns only tensors of MOST bytes and more, unless a person has set how; elsewhere
    nothing happens."""
    is_set = any(name.startswith("MALLOC_") for name in os.environ) or "GLIBC_TUNABLES" in os.environ
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, TypeError, OSError):  # another C library
        return
    if not is_set:
        mallopt(TRIM_THRESHOLD, NEVER)
        mallopt(MMAP_THRESHOLD, MOST)
