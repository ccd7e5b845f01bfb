"""The whole pipeline on a real pretrained base: what each data set costs, and what each model scores on it.

    python -m benchmarks.pretrained MODEL DATA KEEP [NAME ...]

MODEL is a Hugging Face folder, DATA holds gsm8k/ and llms-from-scratch/ as published (conf/data/), and KEEP gets a
clone of the last commit for each run, which shares the DVC cache of this repository: a run that was broken off goes on
where it was, and what a stage has cost is kept until it runs again. Minutes are of processors, those of all cores
together; peak memory is that of the largest process of a stage. Of GSM8K the first rows are learned and held out.
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

from benchmarks.harness.process_cost import ProcessCost, environment, run_measured
from benchmarks.harness.tables import to_markdown
from refrain.experiments import bench
from refrain.models.pytorch.language_model import TorchLanguageModel
from refrain.models.pytorch.loading import load_pretrained
from refrain.runtime import language_model, onnx_folder

COMMON = "model=folder template=alpaca"
FEW_PROMPTS = "export.prompts=24 merge.prompts=24"  # a proof of minutes: the default is 128 of each
RUNS = {
    "instructions": f"data=instructions train.epochs=1 {FEW_PROMPTS}",
    "gsm8k": f"data=gsm8k train.epochs=1 evaluate.max_new_tokens=128 {FEW_PROMPTS}",
}
FIRST_ROWS = {"train.jsonl": 200, "test.jsonl": 40}  # of GSM8K
STAGES = ("base", "prepare", "train", "merge", "export_onnx", "evaluate")
SCORES = {"exact_match": "exact match", "token_f1": "token F1", "rougeL": "ROUGE-L", "perplexity": "perplexity"}
ROUNDS, TORCH_TOKENS = 3, 64


def main() -> None:
    options = arguments()
    costs_table = [["data", "train, val, test", "epochs", "tokens, learned", "validation loss",
                    *(f"{stage}: min, GB" for stage in STAGES[2:])]]  # fmt: skip
    scores_table = [["data", "model", *SCORES.values(), "MB", "decode tokens/s"]]
    for name in options.names or RUNS:
        clone = options.keep.resolve() / name
        data = first_rows(options.data / name, options.keep.resolve()) if name == "gsm8k" else options.data.resolve()
        overrides = f"{COMMON} model.folder={options.model.resolve()} {RUNS[name]} data.folder={data}"
        costs_table.append([name, *describe_run(clone, run(clone, overrides))])
        scores_table += [["" if i else name, *cells] for i, cells in enumerate(score_rows(clone))]
        print(to_markdown(costs_table), to_markdown(scores_table), sep="\n\n", file=sys.stderr, flush=True)
    print(to_markdown(costs_table), to_markdown(scores_table), sep="\n\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("keep", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RUNS)}; default: all")
    return parser.parse_args()


def first_rows(published: Path, keep: Path) -> Path:
    """A folder for data.folder that has the first rows of each file of a data set."""
    folder = keep / "data" / published.name
    folder.mkdir(parents=True, exist_ok=True)
    for file, count in FIRST_ROWS.items():
        lines = (published / file).read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / file).write_text("".join(lines[:count]), encoding="utf-8")
    return folder.parent


def run(clone: Path, overrides: str) -> dict[str, ProcessCost]:
    """The stages of one run, with what each took when it ran last."""
    if not clone.is_dir():
        call(f"git clone --quiet . {clone}", Path.cwd())
        call(f"dvc cache dir --local {Path('.dvc/cache').resolve()}", clone)
    call(f"{sys.executable} -m stages.compose {overrides}", clone)
    kept = clone.with_suffix(".json")
    costs = {name: ProcessCost(**cost) for name, cost in json.loads(kept.read_text()).items()} if kept.exists() else {}
    call("dvc repro --quiet --single-item compose", clone)
    for stage in STAGES:
        if stage not in costs or is_changed(stage, clone):
            costs[stage] = run_measured(f"dvc repro --quiet --single-item --no-run-cache {stage}", clone)
            kept.write_text(json.dumps({name: vars(cost) for name, cost in costs.items()}))
    return costs


def is_changed(stage: str, clone: Path) -> bool:
    command = ["dvc", "status", "--json", stage]
    status = subprocess.run(command, cwd=clone, check=True, stdout=subprocess.PIPE).stdout
    return stage in json.loads(status)


def call(command: str, folder: Path) -> None:
    subprocess.run(shlex.split(command), cwd=folder, check=True, stdout=sys.stderr, env=environment())


def describe_run(clone: Path, costs: dict[str, ProcessCost]) -> list[str]:
    """The cells of a run: rows, tokens and loss, then minutes and gigabytes of each stage that computes."""
    data, train = read_report(clone, "data"), read_report(clone, "train")
    loss, counts = train["val_loss"], ", ".join(f"{data[part]:,}" for part in ("train", "val", "test"))
    return [
        counts,
        f"{train['settings']['epochs']:g}",
        f"{train['tokens']:,}, {train['supervised_tokens']:,}",
        f"{loss['before']:.3f} to {loss['after']:.3f}",
        *(f"{costs[stage].cpu_seconds / 60:.1f}, {costs[stage].peak_gb:.1f}" for stage in STAGES[2:]),
    ]


def score_rows(clone: Path) -> list[list[str]]:
    """Metrics of each model; size and speed of what decodes."""
    variants = {f"onnx-{name}": clone / "models/onnx" / name for name in bench.passing_variants(clone / "models/onnx")}
    rounds = [
        {name: bench.measure_in_process(folder, None) for name, folder in variants.items()} for _ in range(ROUNDS)
    ]
    decode = {name: speed.decode for name, speed in bench.medians(rounds).items()}
    decode["merged"] = torch_decode_rate(clone / "models/merged")
    rows = []
    for name, scores in read_report(clone, "metrics").items():
        size = f"{onnx_folder.model_bytes(variants[name]) / 1e6:.0f}" if name in variants else ""
        rate = f"{decode[name]:.1f}" if name in decode else ""
        rows.append([name, *(f"{scores[key]:.3f}" for key in SCORES), size, rate])
    return rows


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


def read_report(clone: Path, name: str) -> Any:
    return json.loads((clone / f"reports/{name}.json").read_text())


if __name__ == "__main__":
    main()
