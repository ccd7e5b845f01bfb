"""A training, and the decoding of a model, alone and two at once: what threads that wait take from each other.

    python -m benchmarks.contention FOLDER [--rounds N] [--only NAME ...]

FOLDER keeps the model. Each work is done with threads that spin for a moment before they sleep, as Refrain sets it, and
with those of the libraries' own settings, which spin for long. Every run is a process that is ready before it is told
to begin; the time of two is that of the slower. Settings take turns, and ratios are taken within a round: above 1
where ours is faster. Two trainings with the libraries' own settings take minutes, so these run in the first round
alone.
"""

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.harness import tables

log = logging.getLogger(__name__)

STEPS, NEW = 15, 1500  # of a training, tokens to decode: a few seconds of work each
LIBRARIES = {"GOMP_SPINCOUNT": "300000", "KMP_BLOCKTIME": "200"}  # what OpenMP's do when nothing is set
LONG = 1_000_000  # microseconds: ONNX Runtime ends its own spinning before
SETTINGS = ("refrain", "libraries")
SLOW = ("training", "libraries", 2)  # minutes, so in the first round alone
HEADER = ["seconds", *(f"{each}, {count}" for count in ("alone", "two at once") for each in (*SETTINGS, "x libraries"))]
SHAPE = {  # of the embedded tiny base
    "vocab_size": 4096, "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4,
    "num_attention_heads": 6, "num_key_value_heads": 3, "max_position_embeddings": 2048, "tie_word_embeddings": True,
}  # fmt: skip


def main() -> None:
    options = arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if options.child:
        work = WORKS[options.child](options.folder, options.setting)
        print("ready", flush=True)
        sys.stdin.readline()
        begin = time.perf_counter()
        work()
        print(time.perf_counter() - begin, flush=True)
        return
    make_model(options.folder)
    lines = [HEADER]
    for name in options.only:
        rounds = []
        for number in range(options.rounds):
            log.info("%s: round %d of %d", name, number + 1, options.rounds)
            turns = [(each, count) for count in (1, 2) for each in SETTINGS[:: 1 - 2 * (number % 2)]]
            turns = [turn for turn in turns if number == 0 or (name, *turn) != SLOW]
            rounds.append({turn: run(name, *turn, options.folder) for turn in turns})
        lines.append([name, *cells(rounds)])
        print(tables.align([HEADER, lines[-1]]), file=sys.stderr, flush=True)
    print(tables.to_markdown(lines))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=list(WORKS), default=list(WORKS))
    parser.add_argument("--child", choices=list(WORKS), help=argparse.SUPPRESS)
    parser.add_argument("--setting", choices=SETTINGS, help=argparse.SUPPRESS)
    return parser.parse_args()


def make_model(folder: Path) -> None:
    """Random weights in folder/source, and the int8 variant of them, once."""
    if (folder / "onnx/int8").is_dir():
        return
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from benchmarks.contenders import refrain_model
    from benchmarks.harness.model_shapes import NO_ENDS, byte_tokenizer

    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**SHAPE, **NO_ENDS)).save_pretrained(folder / "source")
    byte_tokenizer().save_pretrained(folder / "source")
    refrain_model.export_variant(folder / "source", folder / "onnx/int8", "int8")


def run(name: str, setting: str, count: int, folder: Path) -> float:
    """The seconds of the slowest of so many processes that begin together."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.contention", str(folder), "--child", name]
    environment = {each: value for each, value in os.environ.items() if each not in (*LIBRARIES, "OMP_WAIT_POLICY")}
    environment |= LIBRARIES if setting == "libraries" else {}
    start = partial(subprocess.Popen[str], [*command, "--setting", setting], stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)  # fmt: skip
    children = [start() for _ in range(count)]
    if not all(child.stdout and child.stdout.readline() for child in children):
        sys.exit(f"it does not begin; `{' '.join(command[3:])} --setting {setting}` says why")
    for child in children:
        print(file=child.stdin, flush=True)
    return max(float(child.communicate()[0]) for child in children)


def train(folder: Path, setting: str) -> Callable[[], object]:
    """A training of all weights, on made-up ids, whose environment has the setting."""
    import random

    from refrain.models.pytorch import loading
    from refrain.pipeline import params, paths
    from refrain.training import fit
    from refrain.training.objectives import sft

    rng = random.Random(0)
    ids = [[rng.randrange(4096) for _ in range(rng.randrange(20, 80))] for _ in range(STEPS * 16)]
    rows = [{"input_ids": row, "labels": row} for row in ids]
    overrides = ["method=full", "train.lr=1e-4", "train.epochs=1", "train.batch_size=16", "train.precision=fp32"]
    cfg = params.to_config(params.compose_with_hydra("config", paths.CONF, overrides))
    model, scratch = loading.build_trainable(folder / "source", cfg.method, cfg.seed), tempfile.TemporaryDirectory()
    return lambda: fit.train_model(model, rows, [], sft, cfg.train, cfg.seed, Path(scratch.name))


def decode(folder: Path, setting: str) -> Callable[[], object]:
    """One reply of an open model, token by token."""
    import numpy as np

    from refrain.runtime import loading, session

    session.SPIN_MICROSECONDS = LONG if setting == "libraries" else session.SPIN_MICROSECONDS
    slots = loading.load_model(folder / "onnx/int8").allocate_slots(1)
    slots.prefill(0, np.arange(64))
    return lambda: [slots.decode(np.array([7])) for _ in range(NEW)]


WORKS = {"training": train, "decoding": decode}


def cells(rounds: list[dict[tuple[str, int], float]]) -> list[str]:
    """Seconds with each setting, and how many times as fast ours is, alone and two at once."""
    found = []
    for count in (1, 2):
        both = [tuple(each[name, count] for name in SETTINGS) for each in rounds if ("libraries", count) in each]
        ratios = sorted(libraries / ours for ours, libraries in both)
        found += [f"{median(seconds):.1f}" for seconds in zip(*both, strict=True)]
        found.append(f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    return found


if __name__ == "__main__":
    main()
