"""How fast the variants of an artifact are here, beside how faithful they are.

Each is measured in a process of its own, in turns; a table and a plot hold the medians of all rounds.
"""

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
from typing import Any

import numpy as np

from refrain import TRAIN
from refrain.experiments import pictures, speed_plot
from refrain.experiments.text_tables import markdown_table
from refrain.exporters.onnx import selection
from refrain.pipeline import manifest
from refrain.pipeline.cores import available_cores
from refrain.pipeline.plurals import format_count
from refrain.runtime import loading, onnx_folder

PROMPT, NEW = 128, 128  # tokens that are prefilled and decoded, or a third and a third of what the model sees
TABLE = Path("reports/variants.md")
PLOT = "variants.svg"  # beside it
HEADER = ["variant", "MB", "start s", "memory MB", "prefill tok/s", "decode tok/s", "KL", "top-1", "ROUGE-L", ""]


@dataclass(frozen=True)
class Speed:
    start: float  # seconds until the model is open
    prefill: float  # tokens a second
    decode: float  # tokens a second, of one row
    memory: float  # MB, the most that the process held


def measure_variant(folder: Path, threads: int | None) -> Speed:
    """One variant, once, in this process."""
    begin = time.perf_counter()
    lm = loading.load_model(folder, threads)
    loaded = time.perf_counter()
    prompt_length, new_tokens = min(PROMPT, lm.context // 3), min(NEW, lm.context // 3)
    ids = np.random.default_rng(0).integers(0, 256, prompt_length)
    slots = lm.allocate_slots(1)
    slots.prefill(0, ids)  # the first call allocates
    slots.crop(0, 0)
    prefill_begin = time.perf_counter()
    logits = slots.prefill(0, ids)
    prefill_end = time.perf_counter()
    for _ in range(new_tokens):
        logits = slots.decode(logits.argmax(-1))
    decode_end = time.perf_counter()
    return Speed(
        loaded - begin,
        prompt_length / (prefill_end - prefill_begin),
        new_tokens / (decode_end - prefill_end),
        peak_memory(),
    )


def peak_memory() -> float:
    """MB that this process held at most, as Linux tells; nan elsewhere."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), float("nan"))


def describe_machine(threads: int | None) -> str:
    """The processor that is measured, and how much of it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{name}, {format_count(threads or available_cores(), 'thread')}, ONNX Runtime {version('onnxruntime')}."


def measure_rounds(folders: list[Path], threads: int | None, rounds: int) -> Iterable[dict[str, Speed]]:
    """All variants once in every round, so that a busy moment of the machine meets all of them."""
    for _ in range(rounds):
        yield {folder.name: measure_in_process(folder, threads) for folder in folders}


def measure_in_process(folder: Path, threads: int | None) -> Speed:
    """One variant, once, in a process of its own; ValueError when it fails there."""
    command = [sys.executable, "-m", "refrain.experiments.bench", str(folder), str(threads or 0)]
    process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode != 0:
        raise ValueError(f"{folder}: it could not be measured ({(process.stderr.strip().splitlines() or ['?'])[-1]})")
    return Speed(**json.loads(process.stdout))


def medians(rounds: list[dict[str, Speed]]) -> dict[str, Speed]:
    """The median of each number of each variant."""
    return {
        name: Speed(
            *(median(values) for values in zip(*(asdict(measured[name]).values() for measured in rounds), strict=True))
        )
        for name in rounds[0]
    }


def passing_variants(onnx: Path) -> list[str]:
    """The variants that passed the gate; ValueError when there is no artifact."""
    parity = manifest.read_manifest(onnx)["parity"]
    return [name for name in parity if isinstance(parity[name], dict) and onnx_folder.has_model(onnx / name)]


def write_report(onnx: Path, rounds: list[dict[str, Speed]], machine: str, out: Path) -> str:
    """Put the table in Markdown into `out`, with the plot beside it where it can be drawn; the text of the table."""
    facts, speeds = manifest.read_manifest(onnx), medians(rounds)
    rows = [HEADER, *(report_row(onnx, name, speed, facts) for name, speed in speeds.items())]
    text = f"{markdown_table(rows)}\n\n{best_is_fastest(speeds, facts['best'])}\n\n{machine}"
    out.parent.mkdir(parents=True, exist_ok=True)
    if not pictures.can_draw():
        out.write_text(f"# Variants\n\n{text}\n", encoding="utf-8")
        return f"{text}\n\n{out.parent / PLOT} is drawn with the extra train: pip install '{TRAIN}'"
    spec = speed_plot.build_spec([plot_point(onnx, name, rounds, facts) for name in speeds])
    (out.parent / PLOT).write_text(pictures.draw_svg(spec), encoding="utf-8")
    out.write_text(f"# Variants\n\n{text}\n\n![size and speed]({PLOT})\n", encoding="utf-8")
    return text


def plot_point(onnx: Path, name: str, rounds: list[dict[str, Speed]], facts: dict[str, Any]) -> speed_plot.Point:
    """A variant as the plot shows it."""
    return speed_plot.Point(
        name,
        onnx_folder.model_bytes(onnx / name) / 1e6,
        [measured[name].decode for measured in rounds],
        facts["parity"][name]["rouge"],
        name == facts["best"],
    )


def report_row(onnx: Path, name: str, speed: Speed, facts: dict[str, Any]) -> list[str]:
    parity, size = facts["parity"][name], onnx_folder.model_bytes(onnx / name) / 1e6
    speed_cells = [f"{speed.start:.2f}", f"{speed.memory:.0f}", f"{speed.prefill:.0f}", f"{speed.decode:.0f}"]
    return [name, f"{size:.1f}", *speed_cells, *parity_cells(parity), "best" if name == facts["best"] else ""]


def parity_cells(parity: dict[str, Any]) -> list[str]:
    """How faithful a variant is, as the table has it: so one can see whether that is of a run; empty for none."""
    return [f"{parity['kl']:.1e}", f"{parity['top1']:.2%}", f"{parity['rouge']:.4f}"] if parity else []


def best_is_fastest(speeds: dict[str, Speed], best: str) -> str:
    """Whether the costs in conf/ have chosen what is fastest here, and what to do if not."""
    fastest = max(speeds, key=lambda name: speeds[name].decode)
    share = speeds[best].decode / speeds[fastest].decode
    if share >= 1 - selection.TIE:
        return f"models/onnx/best is {best}: the fastest here, or within {selection.TIE:.0%} of it."
    return (f"models/onnx/best is {best}, {1 - share:.0%} slower here than {fastest}: "
            f"`dvc exp run -S export.best={fastest}` ships that one.")  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(asdict(measure_variant(Path(sys.argv[1]), int(sys.argv[2]) or None))))
