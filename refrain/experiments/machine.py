"""What this machine has: free memory and disk, and how fast it multiplies and reads, measured in a moment."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refrain.models.pretrained import resources
from refrain.pipeline import paths

SIDE = 1024  # of the matrices that are multiplied: larger than a cache, and done in a blink
READ_BYTES = 2**28
TRIES = 3


@dataclass(frozen=True)
class Machine:
    free_memory: int | None  # bytes; None where the system does not say
    free_disk: int
    flops: float  # floating-point operations a second, in fp32 products of matrices
    bandwidth: float  # bytes a second that one core reads from memory


def measure_machine() -> Machine:
    """The machine as it is now."""
    matrix, values = np.ones((SIDE, SIDE), dtype=np.float32), np.ones(READ_BYTES // 4, dtype=np.float32)
    return Machine(
        free_memory=free_memory(),
        free_disk=shutil.disk_usage(paths.workspace()).free,
        flops=2 * SIDE**3 / shortest_time(lambda: matrix @ matrix),
        bandwidth=READ_BYTES / shortest_time(values.sum),
    )


def free_memory() -> int | None:
    """Bytes that this process may take: what the system has, or less where a container is limited."""
    free, group = resources.free_memory(), Path("/sys/fs/cgroup")
    try:
        most, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no such file, or "max"
        return free
    reclaimable = read_counter(group / "memory.stat", "inactive_file")
    return min(most - used + reclaimable, most if free is None else free)


def read_counter(file: Path, name: str) -> int:
    """A number of a file with a name and a number on each line; 0 where it has none."""
    try:
        lines = [line.split() for line in file.read_text().splitlines()]
    except OSError:
        return 0
    return next((int(line[1]) for line in lines if line[:1] == [name]), 0)


def processor_quota() -> float | None:
    """So many cores this container may use; None where none is set."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):  # no such file, or "max"
        return None


def processor_flags() -> frozenset[str] | None:
    """What the processor says it can do, in the words of Linux; None elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return None
    lines = (line.partition(":") for line in text.splitlines())
    return next((frozenset(words.split()) for name, _, words in lines if name.strip() in ("flags", "Features")), None)


def shortest_time(call: Callable[[], Any]) -> float:
    """Seconds of the fastest of a few calls."""
    seconds = []
    for _ in range(TRIES):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
