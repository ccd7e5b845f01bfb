"""Supervised tokens a second, ours beside TRL's SFTTrainer with its defaults: same weights, rows, batch and threads.

    python -m benchmarks.train FOLDER [--data NAME ...] [--shape NAME] [--steps N] [--rounds N] [--only NAME ...]
        [--earlier CHECKOUT]

FOLDER keeps the random weights of the shape and the rows. `environment` is data/prepared as it is; any other name is a
preset of conf/data, its files below --published. CHECKOUT holds an earlier
version, which trains in the same turns. All learn the same ids and labels, encoded by us. A processor
that does not multiply in bf16 computes TRL's defaults in fp32, and nothing of ours in bf16. Each contender runs in a
process of its own, in turns; a ratio is taken within a round. Peak memory is that of the process (VmHWM).
"""

import argparse
import contextlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import model_shapes, tables
from refrain.experiments.machine import processor_flags

log = logging.getLogger(__name__)

THREADS = len(os.sched_getaffinity(0))
BATCH = 8  # TRL's default
METHODS = {"lora": ["method=lora", "method.adapter.rank=16", "method.adapter.alpha=32"], "full": ["method=full"]}
CONTENDERS: dict[str, dict[str, Any]] = {  # what is changed in the defaults of each
    "trl": {},
    "trl fp32": {"bf16": False},
    "trl fp32 without checkpointing": {"bf16": False, "gradient_checkpointing": False},
    "refrain fp32": {"precision": "fp32"},
    "refrain fp32 without oneDNN": {"precision": "fp32", "onednn": False},
    "refrain bf16": {"precision": "bf16"},
    "refrain fp32 padded": {"precision": "fp32", "packing": "false"},
}
PAGE = ["trl", "refrain fp32", "refrain bf16"]  # those of docs/results.md
BF16 = {"avx512_bf16", "amx_bf16", "bf16"}  # by which a processor multiplies in it


def main() -> None:
    options = arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if options.contender:
        print(json.dumps(train_once(options)))
        return
    source = model_shapes.make_source(options.shape, options.folder.resolve())
    left_out = [name for name in options.only if name == "refrain bf16" and not has_bf16()]
    names = [name for name in options.only if name not in left_out]
    for data in options.data:
        examples = encode_rows(data, options.folder.resolve(), options.published.resolve(), options.steps * BATCH)
        rounds = [
            {
                f"{name}{version}": run_contender(name, examples, source, options.method, checkout)
                for name in names
                for version, checkout in checkouts(name, options.earlier).items()
            }
            for _ in range(options.rounds)
        ]
        title = f"{data}, {options.shape}, {options.method}: {options.steps} steps of {BATCH} rows, {THREADS} threads"
        title += "" if has_bf16() else ", trl in fp32"
        rows = table(rounds) + [[name, "does not run: no bf16 on this processor", *[""] * 4] for name in left_out]
        print(f"{title}, medians of {options.rounds} rounds\n\n{tables.to_markdown(rows)}\n", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", nargs="+", default=["environment"])
    parser.add_argument("--published", type=Path, default=Path("data/external"), help="where presets find their files")
    parser.add_argument("--shape", choices=list(model_shapes.SHAPES), default="smollm2-135m")
    parser.add_argument("--method", choices=list(METHODS), default="lora")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=list(CONTENDERS), default=PAGE)
    parser.add_argument("--earlier", type=Path, help="a checkout of an earlier version, to train beside this one")
    parser.add_argument("--contender", choices=list(CONTENDERS), help=argparse.SUPPRESS)
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def has_bf16() -> bool:
    """Whether this processor multiplies in bf16."""
    return bool(BF16 & (processor_flags() or frozenset()))


def encode_rows(data: str, folder: Path, published: Path, count: int) -> Path:
    """So many rows of a data set, drawn once, as ids and labels in a file."""
    from refrain.chat import encoding, records
    from refrain.pipeline import paths
    from refrain.training.objectives import sft

    file = folder / f"{data}-{count}.jsonl"
    if not file.is_file():
        rows = (
            prepare_rows(data, published)
            if data != "environment"
            else records.read_rows(paths.PREPARED / "train.jsonl")
        )
        examples = sft.encode_rows(encoding.load_tokenizer(paths.BASE), rows)[0]
        records.write_rows(file, [examples[i * len(examples) // count] for i in range(count)])
    return file


def prepare_rows(data: str, published: Path) -> list[Any]:
    """The training rows of a preset of conf/data, as the prepare stage places them; the workspace stays as it is."""
    from refrain.chat import records
    from refrain.pipeline import params, paths
    from stages import prepare

    cfg = params.to_config(params.compose_with_hydra("config", paths.CONF, [f"data={data}"]))
    base = paths.BASE.absolute()
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        paths.LINKED_DATA.mkdir(parents=True)
        paths.BASE.parent.mkdir()
        paths.BASE.symlink_to(base)
        for index, source in enumerate(cfg.data.sources):
            paths.linked_source(index, source.path).symlink_to(published / source.path)
        prepare.main(cfg)
        return list(records.read_rows(paths.PREPARED / "train.jsonl"))


def checkouts(name: str, earlier: Path | None) -> dict[str, Path]:
    """Where a contender runs, by what its name gets: ours in both versions."""
    here = {"": Path.cwd()}
    return here if earlier is None or name.startswith("trl") else {", earlier": earlier.resolve(), **here}


def run_contender(name: str, rows: Path, source: Path, method: str, checkout: Path) -> dict[str, float]:
    """What a contender told of itself."""
    log.info("%s: %s in %s", rows.stem, name, checkout)
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.train", str(rows), "--contender", name]
    environment = os.environ | {"OMP_NUM_THREADS": str(THREADS), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [*command, "--source", str(source), "--method", method],
        capture_output=True,
        text=True,
        env=environment,
        cwd=checkout,
    )
    if done.returncode:
        sys.exit(f"{name}: {done.stderr.strip().splitlines()[-1]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def train_once(options: argparse.Namespace) -> dict[str, float]:
    """Train once, as a child; speed without start-up, and the most memory that it ever had."""
    rows = [json.loads(line) for line in options.folder.read_text().splitlines()]
    run: Callable[..., tuple[float, list[float]]] = trl if options.contender.startswith("trl") else refrain
    with tempfile.TemporaryDirectory() as scratch:
        seconds, losses = run(options.source, rows, options.method, changes_of(options.contender), Path(scratch))
    label_count = sum(label >= 0 for row in rows for label in row["labels"][1:])
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {"rate": label_count / seconds, "peak": int(peak.split()[1]) / 1e3, "first": losses[0], "last": losses[-1]}


def changes_of(contender: str) -> dict[str, Any]:
    """What is changed in its defaults here."""
    return {"bf16": False} if contender == "trl" and not has_bf16() else CONTENDERS[contender]


def refrain(source: Path, rows: list[Any], method: str, changes: dict[str, Any], scratch: Path) -> tuple[float, Any]:
    """Our trainer with the values of conf/."""
    import torch

    from refrain.models.pytorch import loading
    from refrain.pipeline import params, paths
    from refrain.training import fit
    from refrain.training.objectives import sft

    values = {"epochs": 1, "batch_size": BATCH, "lr": 2e-5, "warmup": 0, **changes}
    has_onednn = values.pop("onednn", True)
    overrides = [*METHODS[method], *(f"train.{name}={value}" for name, value in values.items())]
    cfg = params.to_config(params.compose_with_hydra("config", paths.CONF, overrides))
    watch, model = stopwatch(), loading.build_trainable(source, cfg.method, cfg.seed)
    with torch.backends.mkldnn.flags(enabled=has_onednn):
        curves = fit.train_model(model, rows, [], sft, cfg.train, cfg.seed, scratch, callbacks=(watch,))
    return watch.seconds, [loss for _, loss in curves.train]


def trl(source: Path, rows: list[Any], method: str, changes: dict[str, Any], scratch: Path) -> tuple[float, Any]:
    """SFTTrainer on our ids and masks, its defaults otherwise; the adapter is ours too."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    from refrain.models.pytorch import loading
    from refrain.pipeline import params, paths

    cfg = params.to_config(params.compose_with_hydra("config", paths.CONF, METHODS[method]))
    data = [
        {"input_ids": row["input_ids"], "completion_mask": [int(label >= 0) for label in row["labels"]]} for row in rows
    ]
    settings = {"completion_only_loss": True, "num_train_epochs": 1, "logging_steps": 1, "report_to": [], **changes}
    watch, tokenizer = stopwatch(), AutoTokenizer.from_pretrained(source)
    tokenizer.eos_token = tokenizer.pad_token = tokenizer.convert_ids_to_tokens(0)
    trainer = SFTTrainer(
        model=loading.build_trainable(source, cfg.method, cfg.seed),
        args=SFTConfig(str(scratch), save_strategy="no", disable_tqdm=True, use_cpu=True, **settings),
        train_dataset=Dataset.from_list(data),
        processing_class=tokenizer,
        callbacks=[watch],
    )
    trainer.train()
    return watch.seconds, [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def stopwatch() -> Any:
    """Seconds from the begin of the first step to the end of the last."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        begin = end = 0.0

        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            self.begin = self.begin or time.perf_counter()

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            self.end = time.perf_counter()

        @property
        def seconds(self) -> float:
            return self.end - self.begin

    return Watch()


def table(rounds: list[dict[str, dict[str, float]]]) -> list[list[str]]:
    """A line a contender: its rate, its ratio to the first within each round, its memory, its losses."""
    first = next(iter(rounds[0]))
    rows = [["contender", "supervised tokens/s", f"x {first}", "peak MB", "first loss", "last loss"]]
    for name in rounds[0]:
        facts = {fact: median(each[name][fact] for each in rounds) for fact in rounds[0][name]}
        ratios = sorted(each[name]["rate"] / each[first]["rate"] for each in rounds)
        spread = f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        rows.append([name, f"{facts['rate']:.1f}", spread, f"{facts['peak']:.0f}", f"{facts['first']:.3f}",
                     f"{facts['last']:.3f}"])  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
