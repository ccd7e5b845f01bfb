"""What is freed is used again, and no page of it asked for anew."""

import subprocess
import sys

import pytest

USE_TWICE = """
import resource, sys
from refrain.data.parallel.freed_memory import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
bytes(range(256)) * (20 << 12)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
bytes(range(256)) * (20 << 12)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.parametrize("how, is_kept", [("kept", True), ("given back", False)])
def test_memory_that_is_kept_causes_no_page_faults(how, is_kept):
    run = subprocess.run([sys.executable, "-c", USE_TWICE, how], capture_output=True, text=True, check=True)
    assert (int(run.stdout) < 500) == is_kept


USE_AND_RETURN = """
from pathlib import Path
from refrain.data.parallel.freed_memory import keep_freed_memory, return_freed_memory

def resident_pages():
    return int(Path("/proc/self/statm").read_text().split()[1])

keep_freed_memory()
bytes(range(256)) * (20 << 12)
kept = resident_pages()
return_freed_memory()
print(kept - resident_pages())
"""


def test_memory_that_was_kept_goes_back_when_that_is_asked():
    run = subprocess.run([sys.executable, "-c", USE_AND_RETURN], capture_output=True, text=True, check=True)
    assert int(run.stdout) > 4_000  # of the 5,120 pages of 20 MB
