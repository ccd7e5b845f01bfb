"""What a command takes, with all processes that it starts."""

import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessCost:
    seconds: float
    cpu_seconds: float  # of all cores together: other work on the machine does not count
    peak_gb: float  # of the largest process


def run_measured(command: str, folder: Path) -> ProcessCost:
    """What a command took, its output on standard error; SystemExit where it fails."""
    begin = time.perf_counter()
    process = subprocess.Popen(shlex.split(command), cwd=folder, stdout=sys.stderr, env=environment())
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command}: it failed in {folder}")
    return ProcessCost(time.perf_counter() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6)


def environment() -> dict[str, str]:
    """Variables with which commands are looked for beside this Python first, as in an environment that is active."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
