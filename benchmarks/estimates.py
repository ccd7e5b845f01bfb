"""What `refrain inspect` estimates, beside what is measured: memory, bytes of files, minutes of a training.

    python -m benchmarks.estimates KEEP --base FOLDER [--method NAME] [--tokens N] [--prompts N] [--steps NAME ...]

KEEP holds a workspace, as that of benchmarks.memory, whose stages are measured here. A training is of four optimiser
steps, each one forward pass of so many random tokens, half of them labelled. Peaks are VmHWM of a process of its own.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import memory
from benchmarks.harness import tables
from refrain.experiments import estimates
from refrain.experiments.machine import measure_machine
from refrain.models.pretrained import resources
from refrain.models.pretrained.facts import ModelFacts, read_facts
from refrain.pipeline import params, paths
from refrain.pipeline.schema import Config
from refrain.runtime import onnx_folder

ROWS, UPDATES, LABELLED, REPLY = 4, 4, 0.5, 64
VARIANTS = ("fp32", "int8", "int4")
STEPS = ("train", *memory.STAGES, *(f"serve {name}" for name in VARIANTS))


def main() -> None:
    options = arguments()
    if options.step:
        once = train_once(options) if options.step == "train" else serve_once(options)
        print(json.dumps({**once, "peak": peak_bytes()}))
        return
    facts, machine = read_facts(options.base), measure_machine()
    workspace = options.keep.resolve() / options.base.resolve().name
    memory.prepare(options.base.resolve(), workspace, options.prompts)
    lines = [["", "estimated", "measured", "estimated / measured"]]
    for step in options.steps or STEPS:
        compared = list(compare(step, options, workspace, facts, machine))
        print(tables.align([lines[0], *compared]), file=sys.stderr, flush=True)
        lines += compared
    print(tables.to_markdown(lines))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("keep", type=Path)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--method", default="lora")
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--steps", nargs="+", choices=STEPS, metavar="NAME")
    parser.add_argument("--step", help=argparse.SUPPRESS)  # what a process of its own does
    return parser.parse_args()


def compare(step, options, workspace, facts: ModelFacts, machine):  # type: ignore[no-untyped-def]
    """Lines of the table: the estimate of a step, what was measured, and how they compare."""
    cfg, name = configuration(options), step.rpartition(" ")[2]
    if step == "train":
        measured = run_alone(options, step)
        largest = resources.Pass(options.tokens, options.tokens // ROWS, LABELLED)
        yield line("train, memory", resources.train_memory(facts, cfg.method, cfg.train, largest), measured["peak"])
        tokens = UPDATES * options.tokens
        work = resources.train_flops(facts, cfg.method, cfg.train, tokens, tokens * LABELLED)
        yield line("train, seconds", work / (estimates.TRAINS * machine.flops), measured["seconds"], "{:.1f} s")
        return
    if step.startswith("serve"):
        variant = cfg.export.variants[name].weights
        needed = resources.serve_memory(facts, variant, 2 * REPLY)
        yield line(f"serve {name}, memory", needed, run_alone(options, step)["peak"])
        return
    peak = memory.measure(step, workspace, options.prompts, memory.ROOT)["peak"]
    if step == "merge":
        yield line("merge, memory", resources.merge_memory(facts), peak)
        return
    yield line("export_onnx, memory", resources.proof_memory(facts), peak)
    for name in VARIANTS:
        size = onnx_folder.model_bytes(workspace / paths.ONNX / name)
        yield line(f"{name}, bytes", resources.variant_bytes(facts, cfg.export.variants[name].weights), size)


def line(name: str, estimated: float, measured: float, form: str | None = None) -> list[str]:
    values = [form.format(value) if form else resources.format_bytes(value) for value in (estimated, measured)]
    return [name, *values, f"{estimated / measured:.2f}"]


def configuration(options: argparse.Namespace) -> Config:
    """What conf/ says of the method, with one forward pass of so many tokens to a step."""
    overrides = [f"method={options.method}", f"train.micro_batch_tokens={options.tokens}", "train.epochs=1"]
    return params.to_config(
        params.compose_with_hydra("config", memory.ROOT / "conf", [*overrides, f"train.batch_size={ROWS}"])
    )


def run_alone(options: argparse.Namespace, step: str) -> dict[str, float]:
    """What a step in a process of its own has to say."""
    command = [sys.executable, "-m", "benchmarks.estimates", str(options.keep), "--base", str(options.base)]
    command += ["--method", options.method, "--tokens", str(options.tokens), "--step", step]
    done = subprocess.run(command, cwd=memory.ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def train_once(options: argparse.Namespace) -> dict[str, float]:
    """The seconds of a training on random tokens."""
    from refrain.models.pytorch import loading
    from refrain.training import fit
    from refrain.training.objectives import sft

    cfg, rng, length = configuration(options), np.random.default_rng(7), options.tokens // ROWS
    model = loading.build_trainable(options.base, cfg.method, cfg.seed)
    ids = [rng.integers(0, 250, length).tolist() for _ in range(ROWS * UPDATES)]
    masked = int(length * (1 - LABELLED))
    rows = [{"input_ids": row, "labels": [-100] * masked + row[masked:]} for row in ids]
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        fit.train_model(model, rows, [], sft, cfg.train, cfg.seed, Path(scratch))
    return {"seconds": time.perf_counter() - start}


def serve_once(options: argparse.Namespace) -> dict[str, float]:
    """A reply of a variant that the step before has exported."""
    from refrain.runtime import language_model, loading

    workspace = options.keep.resolve() / options.base.resolve().name
    lm = loading.load_model(workspace / paths.ONNX / options.step.rpartition(" ")[2])
    language_model.greedy_decode(lm, [list(range(3, 3 + REPLY))], REPLY, frozenset())
    return {}


def peak_bytes() -> int:
    """The most that this process has held, what is mapped from files included."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])


if __name__ == "__main__":
    main()
