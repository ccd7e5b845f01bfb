"""What the machine gives: how fast it reads memory, and how much of its cores is left.

Memory is the limit of decoding, for each token reads every weight once. The sweep is the C library's search for a byte
that is not there, in a buffer far larger than any cache. It reads and compares, and nothing else: sums, products and
maxima of numpy and torch came out slower or the same, and so did loops over AVX-512 registers with and without
prefetching, so what it takes is the memory's time.
"""

import ctypes
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np

SIZE = 512 << 20
PIECE = 16 << 20  # handed out as threads get free, so that a thread held up does not hold up the rest
SWEEPS = 5
PRESENT, ABSENT = 1, 0
GENERATIONS = {("25", "1"): "Zen 3", ("25", "17"): "Zen 4", ("26", ""): "Zen 5"}  # of AMD, by family and model

search = ctypes.CDLL(None).memchr
search.argtypes, search.restype = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t), ctypes.c_void_p


class Memory:
    """A buffer to be read, and the threads that read it."""

    def __init__(self, threads: int) -> None:
        self._buffer = np.full(SIZE, PRESENT, dtype=np.uint8)  # written, or it would be one page of zeros
        self._threads = ThreadPoolExecutor(threads)

    def bandwidth(self) -> float:
        """Bytes read per second, the median of some sweeps."""
        return SIZE / median(self._sweep() for _ in range(SWEEPS))

    def _sweep(self) -> float:
        begin = time.perf_counter()
        list(self._threads.map(self._read, range(0, SIZE, PIECE)))
        return time.perf_counter() - begin

    def _read(self, at: int) -> None:
        search(self._buffer.ctypes.data + at, ABSENT, PIECE)


def others_share(since: tuple[int, int], own_ticks: int) -> float:
    """The share of the cores' time since a `cores_time` that other processes used; `own_ticks` are not theirs."""
    busy, total = cores_time()
    return max(0.0, (busy - since[0] - own_ticks) / max(1, total - since[1]))


def share(since: tuple[int, int], ticks: int) -> float:
    """What part of the cores' time since a `cores_time` so many ticks are."""
    return ticks / max(1, cores_time()[1] - since[1])


def cores_time() -> tuple[int, int]:
    """Ticks of all cores since the machine began: those in use or taken away, and all."""
    ticks = [int(number) for number in Path("/proc/stat").read_text().split(maxsplit=9)[1:9]]
    idle = ticks[3] + ticks[4]  # nothing to do, and waiting for a disk
    return sum(ticks) - idle, sum(ticks)


def process_time(pid: int) -> int:
    """Ticks that a process and its threads have used."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(after_name[11]) + int(after_name[12])  # in user mode and in the kernel


def processor() -> str:
    """The processor's name, and the family and model by which kernels are chosen for it."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
    return f"{facts['model name']} (family {facts['cpu family']}, model {facts['model']})"


def short_name(processor: str) -> str:
    """The generation of an AMD processor, by family and model in what `processor` says; the name of any other."""
    found = re.fullmatch(r"AMD .*\(family (\d+), model (\d+)\)", processor)
    names = [GENERATIONS.get((found[1], model)) for model in (found[2], "")] if found else []
    return next(filter(None, names), processor.partition(" (family")[0])
