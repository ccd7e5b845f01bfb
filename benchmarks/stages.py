"""How long each stage of the default run takes, from nothing, in a clone of the last commit.

    python -m benchmarks.stages KEEP

KEEP holds the clone, which is made anew. Seconds are those of `dvc repro` with all that it does around the stage; peak
memory is that of the largest process.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from benchmarks.harness import tables
from benchmarks.harness.process_cost import run_measured


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("keep", type=Path)
    clone = parser.parse_args().keep.resolve() / "clone"
    shutil.rmtree(clone, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", ".", clone], check=True)
    stages = [*yaml.safe_load((clone / "dvc.yaml").read_text(encoding="utf-8"))["stages"]]
    lines, costs = [["stage", "seconds", "CPU s", "peak GB"]], []
    for stage in stages:
        costs.append(run_measured(f"dvc repro --quiet --single-item {stage}", clone))
        lines.append([stage, f"{costs[-1].seconds:.0f}", f"{costs[-1].cpu_seconds:.0f}", f"{costs[-1].peak_gb:.1f}"])
        print(tables.align([lines[0], lines[-1]]), file=sys.stderr, flush=True)
    seconds, cpu_seconds = sum(cost.seconds for cost in costs), sum(cost.cpu_seconds for cost in costs)
    print(tables.to_markdown([*lines, ["all", f"{seconds:.0f}", f"{cpu_seconds:.0f}", ""]]))


if __name__ == "__main__":
    main()
