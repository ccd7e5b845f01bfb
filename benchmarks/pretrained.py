"""The whole pipeline on a real pretrained base, one section of docs/results.md for each data set.

    python -m benchmarks.pretrained MODEL DATA KEEP [NAME ...] [--until STAGE] [--set OVERRIDE ...]

MODEL is a Hugging Face folder, DATA holds gsm8k/, pira/ and llms-from-scratch/ as published (conf/data/), and KEEP gets
a clone of the last commit for each run, which shares the DVC cache of this repository: a run that was broken off goes
on where it was, and what a stage has cost is kept until it runs again. Peak memory is that of the largest process of a
stage. Of GSM8K the first 500 rows are learned, and the first 100 of its test file are held out.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.process_cost import ProcessCost, run_measured
from benchmarks.harness.tables import to_markdown
from refrain.chat.records import read_rows
from refrain.experiments import bench
from refrain.models.pytorch.language_model import TorchLanguageModel
from refrain.models.pytorch.loading import load_pretrained
from refrain.runtime import language_model, onnx_folder

COMMON = "model=folder template=alpaca"
RUNS = {
    "environment": "data=environment",
    "pira": "data=pira train.epochs=1",
    "instructions": "data=instructions",
    "gsm8k": "data=gsm8k train.epochs=1 evaluate.max_new_tokens=192 export.steps=64",
}
STAGES = ("base", "prepare", "train", "merge", "export_onnx", "evaluate")
SCORES = ("exact_match", "token_f1", "rougeL", "bleu", "perplexity")
QUESTIONS, ROUNDS, TORCH_TOKENS = 10, 3, 64


def main() -> None:
    options = arguments()
    for name in options.names or RUNS:
        clone = options.keep.resolve() / name
        overrides = f"{COMMON} model.folder={options.model.resolve()} {RUNS[name]} {' '.join(options.set)}"
        stages = STAGES[: STAGES.index(options.until) + 1]
        costs = run(clone, f"{overrides} data.folder={data_folder(name, options.data, options.keep)}", stages)
        print(f"### {name}\n", describe_run(clone, costs), sep="\n", flush=True)
        if options.until == STAGES[-1]:
            print(score_table(clone), answer_table(clone), sep="\n", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("keep", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RUNS)}; default: all")
    parser.add_argument("--until", choices=STAGES, default=STAGES[-1], help="the last stage that runs")
    parser.add_argument("--set", nargs="*", default=[], metavar="OVERRIDE", help="more overrides, as of dvc exp run -S")
    return parser.parse_args()


def data_folder(name: str, published: Path, keep: Path) -> str:
    """The embedded data lies in the repository, the published ones where the caller has them."""
    if name == "environment":
        return "data/raw"
    if name == "gsm8k":
        return str(first_rows(published / name, keep.resolve() / "data" / name).parent)
    return str(published.resolve())


def first_rows(published: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file, count in (("train.jsonl", 500), ("test.jsonl", 100)):
        lines = (published / file).read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / file).write_text("".join(lines[:count]), encoding="utf-8")
    return folder


def run(clone: Path, overrides: str, stages: tuple[str, ...]) -> dict[str, ProcessCost]:
    """Stages of one run, with the minutes and the memory that each took when it ran last."""
    if not clone.is_dir():
        call(f"git clone --quiet . {clone}", Path.cwd())
        call(f"dvc cache dir --local {Path('.dvc/cache').resolve()}", clone)
    call(f"{sys.executable} -m stages.compose {overrides}", clone)
    kept = clone.with_suffix(".json")
    costs = {name: ProcessCost(**cost) for name, cost in json.loads(kept.read_text()).items()} if kept.exists() else {}
    call("dvc repro --quiet --single-item compose", clone)
    for stage in stages:
        if stage not in costs or is_changed(stage, clone):
            costs[stage] = run_measured(f"dvc repro --quiet --single-item {stage}", clone)
            kept.write_text(json.dumps({name: vars(cost) for name, cost in costs.items()}))
    return costs


def is_changed(stage: str, clone: Path) -> bool:
    command = ["dvc", "status", "--json", stage]
    status = subprocess.run(command, cwd=clone, check=True, stdout=subprocess.PIPE).stdout
    return stage in json.loads(status)


def call(command: str, folder: Path) -> None:
    subprocess.run(shlex.split(command), cwd=folder, check=True, stdout=sys.stderr)


def describe_run(clone: Path, costs: dict[str, ProcessCost]) -> str:
    """Rows, steps and loss, then what each stage took."""
    data, train = read_report(clone, "data"), read_report(clone, "train")
    loss = train["val_loss"]
    stages = ", ".join(f"{stage} {cost.cpu_seconds / 60:.1f} and {cost.peak_gb:.1f}" for stage, cost in costs.items())
    return (
        f"{data['train']} rows to train on, {data['val']} to validate, {data['test']} to test; {train['steps']} steps, "
        f"{train['tokens']} tokens, {train['supervised_tokens']} of them learned; validation loss {loss['before']:.3f} "
        f"to {loss['after']:.3f}.\n\nMinutes of CPU, and peak memory in GB: {stages}.\n"
    )


def score_table(clone: Path) -> str:
    """Metrics of each model; size and speed of what decodes."""
    variants = {f"onnx-{name}": clone / "models/onnx" / name for name in bench.passing_variants(clone / "models/onnx")}
    rounds = [
        {name: bench.measure_in_process(folder, None) for name, folder in variants.items()} for _ in range(ROUNDS)
    ]
    decode = {name: speed.decode for name, speed in bench.medians(rounds).items()}
    decode["merged"] = torch_decode_rate(clone / "models/merged")
    rows = [["model", *SCORES, "MB", "decode tok/s"]]
    for name, scores in read_report(clone, "metrics").items():
        size = f"{onnx_folder.model_bytes(variants[name]) / 1e6:.0f}" if name in variants else ""
        rate = f"{decode[name]:.1f}" if name in decode else ""
        rows.append([name, *(f"{scores[key]:.3f}" for key in SCORES), size, rate])
    return to_markdown(rows)


def torch_decode_rate(folder: Path) -> float:
    """Tokens a second that PyTorch decodes with its own cache, in fp32, after a prompt as long as `bench` takes."""
    lm, ids = TorchLanguageModel(load_pretrained(folder)), np.random.default_rng(0).integers(0, 256, (1, bench.PROMPT))
    mask = np.ones_like(ids)
    logits, cache = lm.forward(ids, mask, None, 1)
    begin = time.perf_counter()
    for _ in range(TORCH_TOKENS):
        mask = language_model.extend_mask(mask)
        logits, cache = lm.forward(logits[:, -1].argmax(-1)[:, None], mask, cache, 1)
    return TORCH_TOKENS / (time.perf_counter() - begin)


def answer_table(clone: Path) -> str:
    """The first held-out questions, with what the base says and what the int8 variant says."""
    answers = {name: read_rows(clone / f"reports/predictions/{name}.jsonl") for name in ("base", "onnx-int8")}
    rows = [["question", "reference", "base", "int8"]]
    for base, tuned in list(zip(*answers.values(), strict=True))[:QUESTIONS]:
        texts = (base["question"], base["reference"], base["prediction"], tuned["prediction"])
        rows.append([" ".join(str(text).split())[:240].replace("|", "\\|") for text in texts])
    return to_markdown(rows)


def read_report(clone: Path, name: str) -> Any:
    return json.loads((clone / f"reports/{name}.json").read_text())


if __name__ == "__main__":
    main()
