"""How fast the variants of an artifact are here: each in a process of its own, in turns, medians of rounds."""

import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np

from refrain import runtime, session

PROMPT, NEW = 128, 128  # tokens that are read and said, or a third and a third of what the model sees


@dataclass(frozen=True)
class Speed:
    start: float  # seconds until the model is open
    prefill: float  # tokens a second
    decode: float  # tokens a second, of one row
    memory: float  # MB, the most that the process held


def measure(folder: Path, threads: int | None) -> Speed:
    """One variant, once, in this process."""
    begin = time.perf_counter()
    lm = runtime.load(folder, threads)
    opened = time.perf_counter()
    prompt, new = min(PROMPT, lm.context // 3), min(NEW, lm.context // 3)
    ids = np.random.default_rng(0).integers(0, 256, prompt)
    slots = lm.slots(1)
    slots.feed(0, ids)  # the first call allocates
    slots.cut(0, 0)
    fed = time.perf_counter()
    logits = slots.feed(0, ids)
    said = time.perf_counter()
    for _ in range(new):
        logits = slots.step(logits.argmax(-1))
    end = time.perf_counter()
    return Speed(opened - begin, prompt / (said - fed), new / (end - said), peak())


def peak() -> float:
    """MB that this process held at most, as Linux tells; nan elsewhere."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), float("nan"))


def machine(threads: int | None) -> str:
    """The processor that is measured, and how much of it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{name}, {threads or session.cores()} threads, ONNX Runtime {version('onnxruntime')}."


def compare(folders: list[Path], threads: int | None, rounds: int) -> Iterable[dict[str, Speed]]:
    """All variants once in every round, so that a busy moment of the machine meets all of them."""
    for _ in range(rounds):
        yield {folder.name: child(folder, threads) for folder in folders}


def child(folder: Path, threads: int | None) -> Speed:
    """One variant, once, in a process of its own; ValueError when it fails there."""
    command = [sys.executable, "-m", "refrain.bench", str(folder), str(threads or 0)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise ValueError(f"{folder}: it could not be measured ({(done.stderr.strip().splitlines() or ['?'])[-1]})")
    return Speed(**json.loads(done.stdout))


def medians(rounds: list[dict[str, Speed]]) -> dict[str, Speed]:
    """The median of each number of each variant."""
    return {
        name: Speed(*(median(values) for values in zip(*(asdict(each[name]).values() for each in rounds), strict=True)))
        for name in rounds[0]
    }


if __name__ == "__main__":
    print(json.dumps(asdict(measure(Path(sys.argv[1]), int(sys.argv[2]) or None))))
