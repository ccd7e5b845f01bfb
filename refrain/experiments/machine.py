"""What this machine has: free memory and disk, and how fast it multiplies and reads, measured in a moment."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
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
        free_memory=resources.free_memory(),
        free_disk=shutil.disk_usage(paths.workspace()).free,
        flops=2 * SIDE**3 / shortest_time(lambda: matrix @ matrix),
        bandwidth=READ_BYTES / shortest_time(values.sum),
    )


def shortest_time(call: Callable[[], Any]) -> float:
    """Seconds of the fastest of a few calls."""
    seconds = []
    for _ in range(TRIES):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
