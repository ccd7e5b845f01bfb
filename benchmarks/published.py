"""Where the rows of the published data sets go: through `prepare`, one line of docs/results.md each.

    python -m benchmarks.published FOLDER [NAME ...]

FOLDER holds gsm8k/, pira/, taskmaster4/ and llms-from-scratch/ as published; see conf/data/. Each run is made in a
clone of the last commit that shares the DVC cache of this repository, so that the base model is made once.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.harness import tables

NAMES = ("pira", "instructions", "taskmaster4", "gsm8k")
OVERRIDES = "data.max_tokens=1024"
PLACES = {"rows": "rows", "train": "train", "val": "val", "test": "test", "duplicates": "duplicates",
          "quarantined": "quarantined", "set_aside": "filtered"}  # fmt: skip


def main() -> None:
    options = arguments()
    lines = [["data", *PLACES.values(), "reasons"]]
    for name in options.names:
        data = prepare(f"data={name} {OVERRIDES} data.folder={options.folder.resolve()}")
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(data["reasons"].items()))
        lines.append([name, *(f"{data[place]:,}" for place in PLACES), reasons])
        print(tables.align([lines[0], lines[-1]]), file=sys.stderr, flush=True)
    print(tables.to_markdown(lines))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", default=NAMES, metavar="NAME", help=f"of {', '.join(NAMES)}; default: all")
    return parser.parse_args()


def prepare(overrides: str) -> Any:
    """reports/data.json of one run of the pipeline up to prepare."""
    with tempfile.TemporaryDirectory() as scratch:
        clone = Path(scratch, "refrain")
        call(f"git clone --quiet . {clone}", Path.cwd())
        call(f"dvc cache dir --local {Path('.dvc/cache').resolve()}", clone)
        call(f"{sys.executable} -m stages.compose {overrides}", clone)
        call("dvc repro --quiet prepare", clone)
        return json.loads((clone / "reports/data.json").read_text())


def call(command: str, folder: Path) -> None:
    subprocess.run(shlex.split(command), cwd=folder, check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
