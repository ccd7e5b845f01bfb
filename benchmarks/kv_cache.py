"""What keys and values in 8 bits gain and cost, and an LM head in 4 bits: steps of 1, 8 and 32 rows, and prompts.

    python -m benchmarks.kv_cache FOLDER [--shape NAME] [--threads N] [--rounds N]

FOLDER is that of benchmarks.decode, which builds the shape. Each round measures every variant, in turns, in an order
drawn anew: ratios are taken within a round. With one thread times are of the processor, so that other work on the
machine changes little; with more they are of the clock. Prompts are ids drawn at random, and so are weights: what a
variant says is proven by `dvc repro`, not here.
"""

import argparse
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.harness import model_shapes, tables
from refrain.runtime import loading

INT8, INT4 = {"bits": 8, "activations": "token"}, {"bits": 4, "block": 32, "head_bits": 8, "rounding": "search"}
VARIANTS: dict[str, dict[str, Any]] = {
    "int8": INT8,
    "int8, KV 8": INT8 | {"kv_bits": 8},
    "int4, head 8": INT4,
    "int4, head 4": INT4 | {"head_bits": 4},
    "int4, head 4, KV 8": INT4 | {"head_bits": 4, "kv_bits": 8},
}
CASES = [(rows, past) for past in (184, 1000) for rows in (1, 8, 32)]
PROMPTS, STEPS = (128, 1000), 8
Times = dict[tuple[int, int], float]  # ms a token, by rows and past; of prompts by 0 and length


def main() -> None:
    options = arguments()
    folders = build_variants(model_shapes.make_source(options.shape, options.folder))
    clock = time.process_time if options.threads == 1 else time.perf_counter
    rng, rounds = np.random.default_rng(model_shapes.SEED), []
    for _ in range(options.rounds):
        order = rng.permutation(list(folders))
        rounds.append({name: measure(folders[name], options.threads, clock) for name in order})
    rows = make_table(rounds, folders)
    print(tables.to_markdown(rows))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", choices=list(model_shapes.SHAPES), default="smollm2-135m")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def build_variants(source: Path) -> dict[str, Path]:
    """A folder for each variant, with the scales that the shape's fp32 graph asks for."""
    from refrain.exporters.onnx import exporter, kv_scales
    from refrain.exporters.onnx.builder import Calibration
    from refrain.pipeline.export_schema import QuantizationConfig

    folders = {name: source.parent / "kv_cache" / name.replace(", ", "-").replace(" ", "") for name in VARIANTS}
    missing = [name for name, folder in folders.items() if not folder.is_dir()]
    if missing:
        fp32 = source.parent / "kv_cache" / "fp32"
        shutil.rmtree(fp32, ignore_errors=True)
        exporter.export_variant(source, fp32, QuantizationConfig(bits=32), "compact", 18)
        ids = np.random.default_rng(model_shapes.SEED).integers(256, size=(4, 128)).tolist()
        calibration = Calibration(kv_scales=kv_scales.measure_scales(fp32, ids))
        for name in missing:
            exporter.export_variant(
                source, folders[name], QuantizationConfig(**VARIANTS[name]), "compact", 18, calibration
            )
        shutil.rmtree(fp32)
    return folders


def measure(folder: Path, threads: int, clock: Callable[[], float]) -> Times:
    """The least of some steps, and the time of each prompt."""
    lm = loading.load_model(folder, threads)
    rows = max(rows for rows, _ in CASES)
    slots, ids = lm.allocate_slots(rows), np.random.default_rng(0).integers(256, size=max(PROMPTS))
    times = {}
    slots.prefill(0, ids[:64])  # the first call makes room
    for length in PROMPTS:
        slots.crop(0, 0)
        begin = clock()
        slots.prefill(0, ids[:length])
        times[0, length] = 1000 * (clock() - begin) / length
    for row in range(1, rows):
        slots.copy(0, row, max(PROMPTS))
    for count, past in CASES:
        taken = []
        for _ in range(STEPS):
            for row in range(count):
                slots.crop(row, past)
            begin = clock()
            slots.decode(ids[:count])
            taken.append(1000 * (clock() - begin) / count)
        times[count, past] = min(taken)
    return times


def make_table(rounds: list[dict[str, Times]], folders: dict[str, Path]) -> list[list[str]]:
    """A line for each variant: ms a token, and in brackets how many times as fast as the first of its kind."""
    keys = [*((0, length) for length in PROMPTS), *CASES]
    titles = [f"prompt of {past}" if rows == 0 else f"{rows} after {past}" for rows, past in keys]
    table = [["ms a token", "MB", "KB of KV a token", *titles]]
    for name, folder in folders.items():
        first = next(other for other in folders if other.startswith(name[:4]))
        size = sum(file.stat().st_size for file in folder.glob("model.onnx*")) / 1e6
        cells = []
        for key in keys:
            ratio = median(each[first][key] / each[name][key] for each in rounds)
            cells.append(f"{median(each[name][key] for each in rounds):.3f} ({ratio:.2f})")
        kilobytes = loading.load_model(folder, 1).kv_bytes_per_token / 1024
        table.append([name, f"{size:.0f}", f"{kilobytes:.1f}", *cells])
    return table


if __name__ == "__main__":
    main()
