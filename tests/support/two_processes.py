"""A stage in two processes, started by it itself or, without its launcher, as torchrun starts them."""

import os
import subprocess
from pathlib import Path

import forked_python
from places import ROOT

from refrain.training.distributed.workers import free_port

TWO = ("launch.processes=2",)
STAGE = """
import runpy, sys
sys.path.insert(1, sys.argv.pop(1))
runpy.run_module("stages.train", run_name="__main__", alter_sys=True)
"""


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code, and all that was said."""
    said = process.communicate(timeout=600)[1]
    return process.returncode, said


def run_joined(outputs: Path, *overrides: str) -> list[subprocess.CompletedProcess[str]]:
    """How the train stage ended in both, started by somebody else."""
    group = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    both = [os.environ | group | {"RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": "1"} for rank in ("0", "1")]
    return forked_python.run_together(
        STAGE, str(ROOT), *overrides, outputs=outputs, folder=Path.cwd(), environments=both
    )
