"""The whole pipeline on the published data sets, one line of docs/results.md each.

    python benchmarks/published.py FOLDER [--rows] [NAME ...]

With --rows the pipeline ends behind prepare, and the table says where the rows went. FOLDER holds gsm8k/, pira/,
taskmaster4/ and llms-from-scratch/ as published; see conf/data/. Each run is made in a clone of the last commit that
shares the DVC cache of this repository, so that the base model is made once.
"""

import argparse
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
PLACES = ("rows", "train", "val", "test", "duplicates", "quarantined", "set_aside")
HEADER = (
    "| data | rows in | train | val | test | duplicates | quarantined | minutes "
    "| val loss before | after | ROUGE-L before | after (int8) | test rows scored |"
)


def main() -> None:
    options = arguments()
    print("| data | " + " | ".join(PLACES) + " | reasons |" if options.rows else HEADER)
    print("|---|" + "---:|" * len(PLACES) + "---|" if options.rows else "|---|" + "---:|" * 12)
    for name in options.names or RUNS:
        reports = run(RUNS[name], options.folder.resolve(), "prepare" if options.rows else "")
        print(rows(name, reports["data"]) if options.rows else row(name, reports), flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RUNS)}; default: all")
    parser.add_argument("--rows", action="store_true", help="stop behind prepare and say where the rows went")
    return parser.parse_args()


def run(overrides: str, folder: Path, target: str) -> dict[str, Any]:
    """The reports of one run of the pipeline, up to a stage or to its end, with the minutes that it took."""
    with tempfile.TemporaryDirectory() as scratch:
        clone = Path(scratch, "refrain")
        call(f"git clone --quiet . {clone}", Path.cwd())
        call(f"dvc cache dir --local {Path('.dvc/cache').resolve()}", clone)
        begin = time.monotonic()
        call(f"python -m stages.compose {overrides} data.folder={folder}", clone)
        call(f"dvc repro --quiet {target}", clone)
        minutes = (time.monotonic() - begin) / 60
        names = ("data",) if target else ("data", "train", "metrics")
        documents = {name: json.loads((clone / f"reports/{name}.json").read_text()) for name in names}
    return {**documents, "minutes": minutes}


def rows(name: str, data: dict[str, Any]) -> str:
    """A line of the table of rows."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(data["reasons"].items()))
    return f"| {' | '.join(map(str, [name, *(data[place] for place in PLACES), reasons]))} |"


def row(name: str, reports: dict[str, Any]) -> str:
    """A line of the table."""
    data, loss, scores = reports["data"], reports["train"]["val_loss"], reports["metrics"]
    counts = [data[key] for key in ("rows", "train", "val", "test", "duplicates", "quarantined")]
    numbers = [f"{reports['minutes']:.1f}", f"{loss['before']:.2f}", f"{loss['after']:.2f}"]
    rouge = [f"{scores[model]['rougeL']:.3f}" for model in ("base", "onnx-int8")]
    return f"| {' | '.join(map(str, [name, *counts, *numbers, *rouge, scores['base']['rows']]))} |"


def call(command: str, folder: Path) -> None:
    subprocess.run(shlex.split(command), cwd=folder, check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
