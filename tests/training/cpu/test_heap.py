"""What a process has used and freed stays with it, unless a person has set otherwise."""

import ctypes
import os
import subprocess
import sys

import pytest

FAULTS = """
import resource
from refrain.training.cpu import heap
heap.keep_freed_memory()
def count_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(64 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
count_faults()
print(count_faults())
"""

END = """
import ctypes
from refrain.training.cpu import heap
heap.keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.sbrk.restype = ctypes.c_void_p
blocks = [ctypes.c_void_p(libc.malloc(ctypes.c_size_t(900 << 20))) for _ in range(2)]
before = libc.sbrk(0)
for block in blocks:
    libc.free(block)
print(before - libc.sbrk(0))
"""

needs_glibc = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="needs glibc")


@needs_glibc
@pytest.mark.parametrize(("variables", "is_kept"), [({}, True), ({"MALLOC_TRIM_THRESHOLD_": "131072"}, False)])
def test_memory_is_asked_for_once(variables, is_kept):
    assert (run(FAULTS, variables) < 1000) == is_kept


@needs_glibc
@pytest.mark.parametrize(("variables", "is_kept"), [({}, True), ({"MALLOC_MMAP_THRESHOLD_": str(1 << 30)}, False)])
def test_more_than_a_gigabyte_of_it_too(variables, is_kept):
    assert (run(END, variables) == 0) == is_kept


def run(program, variables):
    """The number that a program says in a process of its own."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=outside | variables)
    return int(done.stdout) if done.returncode == 0 else pytest.fail(done.stderr)
