"""How long each stage of the default run takes, from nothing, in a clone of the last commit.

    python -m benchmarks.stages KEEP

KEEP holds the clone, which is made anew. Seconds are those of `dvc repro` with all that it does around the stage; peak
memory is that of the largest process.
"""

import argparse
import shutil
import subprocess
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
    costs = [run_measured(f"dvc repro --quiet --single-item {stage}", clone) for stage in stages]
    seconds, cpu_seconds = ([getattr(cost, name) for cost in costs] for name in ("seconds", "cpu_seconds"))
    lines = [
        ["", *stages, "all"],
        ["seconds", *(f"{each:.0f}" for each in [*seconds, sum(seconds)])],
        ["CPU s", *(f"{each:.0f}" for each in [*cpu_seconds, sum(cpu_seconds)])],
        ["peak GB", *(f"{cost.peak_gb:.1f}" for cost in costs), f"{max(cost.peak_gb for cost in costs):.1f}"],
    ]
    print(tables.to_markdown(lines))


if __name__ == "__main__":
    main()
