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
