"""How long each stage of the default run takes, from nothing, in a clone of the last commit.

    python -m benchmarks.stages KEEP

KEEP holds the clone, which is made anew. Seconds are those of `dvc repro` with all that it does around the stage; peak
memory is that of the largest process.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import yaml

from benchmarks.harness import tables


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("keep", type=Path)
    clone = parser.parse_args().keep.resolve() / "clone"
    shutil.rmtree(clone, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", ".", clone], check=True)
    stages = [*yaml.safe_load((clone / "dvc.yaml").read_text(encoding="utf-8"))["stages"]]
    lines = [["stage", "seconds", "CPU s", "peak GB"]]
    for stage in stages:
        lines.append([stage, *measure(f"dvc repro --quiet --single-item {stage}", clone)])
        print(tables.align([lines[0], lines[-1]]), file=sys.stderr, flush=True)
    seconds, cpu = (f"{sum(float(line[column]) for line in lines[1:]):.0f}" for column in (1, 2))
    print(tables.to_markdown([*lines, ["all", seconds, cpu, ""]]))


def measure(command: str, folder: Path) -> list[str]:
    """Seconds of the clock and of processors, and the peak of the largest process; SystemExit where it fails."""
    begin = time.perf_counter()
    process = subprocess.Popen(shlex.split(command), cwd=folder, stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command}: it failed in {folder}")
    seconds = time.perf_counter() - begin
    return [f"{seconds:.0f}", f"{usage.ru_utime + usage.ru_stime:.0f}", f"{usage.ru_maxrss / 1e6:.1f}"]


if __name__ == "__main__":
    main()
