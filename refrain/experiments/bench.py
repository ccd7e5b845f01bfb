"""How fast the variants of an artifact are here: each in a process of its own, in turns, medians of rounds.

Speed beside fidelity: the table and the plot by which the variants of an artifact are compared.
"""

import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from html import escape
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from refrain.experiments.text_tables import markdown_table
from refrain.export.onnx import selection
from refrain.pipeline import manifest
from refrain.runtime import loading, onnx_folder, session

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
    lm = loading.load_model(folder, threads)
    opened = time.perf_counter()
    prompt, new = min(PROMPT, lm.context // 3), min(NEW, lm.context // 3)
    ids = np.random.default_rng(0).integers(0, 256, prompt)
    slots = lm.allocate_slots(1)
    slots.prefill(0, ids)  # the first call allocates
    slots.crop(0, 0)
    fed = time.perf_counter()
    logits = slots.prefill(0, ids)
    said = time.perf_counter()
    for _ in range(new):
        logits = slots.decode(logits.argmax(-1))
    end = time.perf_counter()
    return Speed(opened - begin, prompt / (said - fed), new / (end - said), peak_memory())


def peak_memory() -> float:
    """MB that this process held at most, as Linux tells; nan elsewhere."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), float("nan"))


def machine_line(threads: int | None) -> str:
    """The processor that is measured, and how much of it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{name}, {threads or session.available_cores()} threads, ONNX Runtime {version('onnxruntime')}."


def measure_rounds(folders: list[Path], threads: int | None, rounds: int) -> Iterable[dict[str, Speed]]:
    """All variants once in every round, so that a busy moment of the machine meets all of them."""
    for _ in range(rounds):
        yield {folder.name: measure_in_process(folder, threads) for folder in folders}


def measure_in_process(folder: Path, threads: int | None) -> Speed:
    """One variant, once, in a process of its own; ValueError when it fails there."""
    command = [sys.executable, "-m", "refrain.experiments.bench", str(folder), str(threads or 0)]
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


TABLE = Path("reports/variants.md")


PLOT = "variants.svg"  # beside it


HEADER = ["variant", "MB", "start s", "memory MB", "prefill tok/s", "decode tok/s", "KL", "top-1", "ROUGE-L", ""]


WIDTH, HEIGHT, EDGE = 640, 320, 70


def passing_variants(onnx: Path) -> list[str]:
    """The variants that passed the gate; ValueError when there is no artifact."""
    parity = manifest.read_manifest(onnx)["parity"]
    return [name for name in parity if isinstance(parity[name], dict) and onnx_folder.has_model(onnx / name)]


def write_report(onnx: Path, speeds: dict[str, Speed], machine: str, out: Path) -> str:
    """Put the table in Markdown into `out`, with the plot beside it; the text of both but the plot."""
    facts = manifest.read_manifest(onnx)
    rows = [HEADER, *(row(onnx, name, speed, facts) for name, speed in speeds.items())]
    text = f"{markdown_table(rows)}\n\n{best_is_fastest(speeds, facts['best'])}\n\n{machine}"
    (out.parent / PLOT).write_text(plot(speeds, facts), encoding="utf-8")
    out.write_text(f"# Variants\n\n{text}\n\n![tokens a second, and ROUGE-L]({PLOT})\n", encoding="utf-8")
    return text


def row(onnx: Path, name: str, speed: Speed, facts: dict[str, Any]) -> list[str]:
    proof, size = facts["parity"][name], onnx_folder.model_bytes(onnx / name) / 1e6
    measured = [f"{speed.start:.2f}", f"{speed.memory:.0f}", f"{speed.prefill:.0f}", f"{speed.decode:.0f}"]
    proven = [f"{proof['kl']:.1e}", f"{proof['top1']:.2%}", f"{proof['rouge']:.4f}"]
    return [name, f"{size:.1f}", *measured, *proven, "best" if name == facts["best"] else ""]


def best_is_fastest(speeds: dict[str, Speed], best: str) -> str:
    """Whether the costs in conf/ have chosen what is fastest here, and what to do if not."""
    fastest = max(speeds, key=lambda name: speeds[name].decode)
    share = speeds[best].decode / speeds[fastest].decode
    if share >= 1 - selection.TIE:
        return f"models/onnx/best is {best}: the fastest here, or within {selection.TIE:.0%} of it."
    return (f"models/onnx/best is {best}, {1 - share:.0%} slower here than {fastest}: "
            f"`dvc exp run -S export.best={fastest}` ships that one.")  # fmt: skip


def plot(speeds: dict[str, Speed], facts: dict[str, Any]) -> str:
    """An SVG of tokens a second against ROUGE-L; a line joins the variants that no other beats in both."""
    points = {name: (speed.decode, facts["parity"][name]["rouge"]) for name, speed in speeds.items()}
    front = sorted(name for name, (x, y) in points.items() if not any(u > x and v > y for u, v in points.values()))
    front.sort(key=lambda name: points[name])
    most = max(x for x, _ in points.values()) * 1.15
    low, high = (f(y for _, y in points.values()) for f in (min, max))
    margin = max((high - low) * 0.25, 0.005)

    def at(name: str) -> tuple[float, float]:
        x, y = points[name]
        up = (y - low + margin) / (high - low + 2 * margin)
        return EDGE + x / most * (WIDTH - 2 * EDGE), HEIGHT - EDGE - up * (HEIGHT - 2 * EDGE)

    path = " ".join(f"{x:.0f},{y:.0f}" for x, y in map(at, front))
    dots = "".join(
        f'<circle cx="{x:.0f}" cy="{y:.0f}" r="5" fill="{"#d33" if name == facts["best"] else "#36c"}"/>'
        f'<text x="{x:.0f}" y="{y - 10:.0f}" text-anchor="middle">{escape(name)} {points[name][0]:.0f}</text>'
        for name, (x, y) in ((name, at(name)) for name in points)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
        f'<path d="M{EDGE} {EDGE}V{HEIGHT - EDGE}H{WIDTH - EDGE}" fill="none" stroke="#888"/>'
        f'<text x="{WIDTH / 2:.0f}" y="{HEIGHT - 25}" text-anchor="middle">tokens a second, one row</text>'
        f'<text x="{EDGE}" y="{EDGE - 20}" text-anchor="middle">ROUGE-L</text>'
        f'<text x="{EDGE - 8}" y="{EDGE + 5}" text-anchor="end">{high + margin:.3f}</text>'
        f'<text x="{EDGE - 8}" y="{HEIGHT - EDGE}" text-anchor="end">{low - margin:.3f}</text>'
        f'<polyline points="{path}" fill="none" stroke="#36c" stroke-dasharray="4"/>{dots}</svg>\n'
    )
