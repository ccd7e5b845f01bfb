"""The whole pipeline on the published data sets, one line of docs/results.md each.

    python benchmarks/published.py FOLDER [NAME ...]

FOLDER holds gsm8k/, pira/, taskmaster4/ and llms-from-scratch/ as published; see conf/data/. Each run is made in a
clone of the last commit that shares the DVC cache of this repository, so that the base model is made once.
"""

import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

COMMON = "method=full train.lr=1e-3 train.batch_size=8 data.max_tokens=1024 evaluate.max_rows=200"
RUNS = {
    "pira": f"data=pira train.epochs=3 {COMMON}",
    "instructions": f"data=instructions train.epochs=3 {COMMON}",
    "taskmaster4": f"data=taskmaster4 train.epochs=3 {COMMON}",
    "gsm8k": f"data=gsm8k train.epochs=1 {COMMON}",
}
HEADER = (
    "| data | rows in | train | val | test | duplicates | quarantined | minutes "
    "| val loss before | after | ROUGE-L before | after (int8) | test rows scored |"
)


def main() -> None:
    folder, *names = sys.argv[1:]
    print(HEADER)
    print("|---|" + "---:|" * 12)
    for name in names or RUNS:
        print(row(name, run(RUNS[name], Path(folder).resolve())), flush=True)


def run(overrides: str, folder: Path) -> dict[str, Any]:
    """The reports of one run of the pipeline, with the minutes that it took."""
    with tempfile.TemporaryDirectory() as scratch:
        clone = Path(scratch, "refrain")
        call(f"git clone --quiet . {clone}", Path.cwd())
        call(f"dvc cache dir --local {Path('.dvc/cache').resolve()}", clone)
        begin = time.monotonic()
        call(f"python -m stages.compose {overrides} data.folder={folder}", clone)
        call("dvc repro --quiet", clone)
        minutes = (time.monotonic() - begin) / 60
        reports = {
            name: json.loads((clone / f"reports/{name}.json").read_text()) for name in ("data", "train", "metrics")
        }
    return {**reports, "minutes": minutes}


def row(name: str, found: dict[str, Any]) -> str:
    """A line of the table."""
    data, loss, scores = found["data"], found["train"]["val_loss"], found["metrics"]
    counts = [data[key] for key in ("rows", "train", "val", "test", "duplicates", "quarantined")]
    numbers = [f"{found['minutes']:.1f}", f"{loss['before']:.2f}", f"{loss['after']:.2f}"]
    rouge = [f"{scores[model]['rougeL']:.3f}" for model in ("base", "onnx-int8")]
    return f"| {' | '.join(map(str, [name, *counts, *numbers, *rouge, scores['base']['rows']]))} |"


def call(command: str, folder: Path) -> None:
    subprocess.run(shlex.split(command), cwd=folder, check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
