"""The prepare stage on made-up rows of 2 KB, beside the same job in datasets.map and datasketch.

    python -m benchmarks.prepare FOLDER [--rows N ...] [--rival-rows N ...] [--workers N] [--run N] [--engine ray]
        [--before WORKTREE]

FOLDER keeps the rows; each job runs in a folder of its own below it, with the code and the base model of this
repository; --before names a work tree of another version, which does the same job first. Peak memory is that of a
process (VmHWM): of the one that was started, and of the largest of its workers.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.harness import prepare_rows, tables

ROOT = Path(__file__).resolve().parents[1]
CORES = len(os.sched_getaffinity(0))
PLACES = ("train", "val", "test", "duplicates", "quarantined", "set_aside")
OFTEN = 0.2  # seconds between two looks at the memory


@dataclass(frozen=True)
class Run:
    seconds: float
    cpu: float  # seconds of all its processes; more steady than the others on a machine that is shared
    peaks: list[float]  # MB: the process, then its workers
    output: str


def main() -> None:
    options = arguments()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    table = [["job", "rows", "seconds", "rows/s", "CPU s", "peak MB", "of a worker", *PLACES]]
    for count in sorted({*options.rows, *options.rival_rows}):
        for code in [options.before, ROOT] if options.before else [ROOT]:
            scratch = stage_folder(folder, make_rows(folder, count), options, code)
            if count in options.rows:
                result = run_watched([sys.executable, "-m", "stages.prepare", "--quiet"], scratch)
                report = json.loads((scratch / "reports/data.json").read_text())
                table.append(table_row("refrain" if code == ROOT else "refrain, before", count, result, report))
        if count in options.rival_rows:
            script = ROOT / "benchmarks/harness/prepare_rival.py"
            result = run_watched(
                [sys.executable, script, scratch / "cache", str(options.workers)], scratch, datasketch_folder(folder)
            )
            table.append(table_row("datasets + datasketch", count, result, json.loads(result.output.splitlines()[-1])))
        print(tables.align(table), end="\n\n", file=sys.stderr, flush=True)
    print(tables.to_markdown([row[: -len(PLACES)] for row in table]))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument(
        "--rival-rows", type=int, nargs="*", default=[], help="rows of the rival, which needs datasketch"
    )
    parser.add_argument("--workers", type=int, default=CORES)
    parser.add_argument("--run", type=int, default=5, help="words in a run, of which near copies share four fifths")
    parser.add_argument("--engine", choices=["local", "ray"], default="local")
    parser.add_argument("--before", type=Path, help="a work tree of another version")
    return parser.parse_args()


def make_rows(folder: Path, count: int) -> Path:
    """So many rows in a file, made now if it is not there."""
    file = folder / f"rows-{count}.jsonl"
    if not file.is_file():
        begin, part = time.perf_counter(), file.with_suffix(".part")
        prepare_rows.write(part, count, ROOT / "data/raw/corpus.txt")
        seconds = time.perf_counter() - begin
        part.rename(file)
        print(
            f"{count:,} rows, {file.stat().st_size / 1e6:,.0f} MB, made in {seconds:.0f} s", file=sys.stderr, flush=True
        )
    return file


def stage_folder(folder: Path, file: Path, options: argparse.Namespace, code: Path) -> Path:
    """A working folder in which the stage finds its code, of this version or another, its values, rows and base."""
    if not (ROOT / "models/base/tokenizer.json").is_file():
        sys.exit("models/base is missing, and rows are measured in its tokens; run `dvc repro base` first")
    scratch = folder / "stage"
    shutil.rmtree(scratch, ignore_errors=True)
    for name in ("refrain", "stages", "conf"):
        shutil.copytree(code / name, scratch / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("models/base", "data/raw"):
        (scratch / name).parent.mkdir(exist_ok=True)
        (scratch / name).symlink_to(ROOT / name)
    values = {"workers": options.workers, "engine": options.engine, "max_tokens": 8192, "leaks.ngram_size": options.run}
    overrides = [f"data.{name}={value}" for name, value in values.items()]
    compose = [sys.executable, "-m", "stages.compose", "data=files", f"data.sources=[{{path: {file}}}]", *overrides]
    subprocess.run(compose, cwd=scratch, check=True)
    return scratch


def datasketch_folder(folder: Path) -> Path:
    """Where datasketch is installed."""
    home = folder / ".cache" / "datasketch"
    if not (home / "datasketch").is_dir():
        sys.exit(f"datasketch is missing: pip install --no-deps --target {home} datasketch; or leave --rival-rows out")
    return home


def run_watched(command: list[Any], folder: Path, packages: Path | None = None) -> Run:
    """Run to the end and keep the greatest memory of every process; the last words when it fails."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1"} | ({"PYTHONPATH": str(packages)} if packages else {})
    peaks: dict[int, float] = {}
    cpu: dict[int, float] = {}
    begin = time.perf_counter()
    with (folder / "output.txt").open("w+") as output, (folder / "errors.txt").open("w+") as errors:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=errors)
        while process.poll() is None:
            sample_usage(process.pid, peaks, cpu)
            time.sleep(OFTEN)
        seconds = time.perf_counter() - begin
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            sys.exit(f"{command}: {errors.read().strip()[-2000:]}")
        return Run(seconds, sum(cpu.values()), list(peaks.values()), output.read())


def sample_usage(pid: int, peaks: dict[int, float], cpu: dict[int, float]) -> None:
    """A process tells its peak and its time as long as it lives."""
    with suppress(psutil.NoSuchProcess, OSError):
        for each in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            if peak := re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{each.pid}/status").read_text()):
                peaks[each.pid] = int(peak[1]) / 1e3
                cpu[each.pid] = sum(each.cpu_times()[:2])


def table_row(job: str, count: int, result: Run, places: dict[str, Any]) -> list[str]:
    numbers = [f"{result.seconds:.1f}", f"{count / result.seconds:,.0f}", f"{result.cpu:.1f}", f"{result.peaks[0]:.0f}",
               f"{max(result.peaks[1:], default=0):.0f}"]  # fmt: skip
    return [job, f"{count:,}", *numbers, *(f"{places.get(place, 0):,}" for place in PLACES)]


if __name__ == "__main__":
    main()
