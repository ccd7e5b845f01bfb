"""A pipeline that is killed at any moment, in any way, and run again ends in the bytes of one that never was."""

import os
import random
import re
import signal
import subprocess
import sys

import psutil
import pytest
import workbench
from workbench import dvc, edit

from refrain.keeper import SECONDS

pytestmark = pytest.mark.slow
KILLS = {"base": 1, "prepare": 1, "train": 20, "merge": 2, "export_onnx": 2, "evaluate": 2}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A repository whose training takes some hundred steps, run once and committed."""
    folder = workbench.repository(tmp_path_factory.mktemp("kills") / "repository")
    workbench.small(folder)
    edit(folder / "conf/config.yaml", {"train.epochs": 12, "train.batch_size": 1})
    dvc(folder, "repro")
    workbench.commit(folder)
    return folder


@pytest.fixture
def lost(finished):
    """The same without a single output, nor a way to restore one."""
    workbench.restore(finished)
    for place in ("models", "data/prepared", ".dvc/cache", ".dvc/tmp", "reports"):
        workbench.run(finished, "rm", "-rf", place)
    return finished


class Run:
    """A `dvc repro` with checkpoints as often as may be, to be killed."""

    def __init__(self, folder, log):
        self.log = log
        settings = workbench.surroundings(folder) | {SECONDS: "0"}
        with log.open("w") as said:
            self.process = subprocess.Popen([sys.executable, "-m", "dvc", "repro"], cwd=folder, env=settings,
                                            stdout=said, stderr=said, start_new_session=True)  # fmt: skip

    def reaches(self, stage):
        """Whether the stage has begun; True as well when all is over."""
        return self.process.poll() is not None or f"Running stage '{stage}'" in self.log.read_text()

    def survives(self, seconds):
        """Whether it is over before so much time has gone by."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self, how):
        """The whole group at once, as a power cut would; Ctrl-C; a polite end; or dvc alone, its stage left alive."""
        if how == "dvc alone":
            self.process.kill()
        else:
            os.killpg(self.process.pid, how)
        self.process.wait()


def left_over(folder):
    """The processes of stages that are still alive in a folder."""
    for process in psutil.process_iter(["cmdline", "cwd"]):
        if process.info["cwd"] == str(folder) and "stages." in " ".join(process.info["cmdline"] or []):
            yield process


def test_killed_again_and_again_in_every_stage_it_ends_in_the_same_bytes(lost, tmp_path):
    committed = workbench.run(lost, "git", "show", "HEAD:dvc.lock")
    rng, resumed, killed = random.Random(4), 0, 0
    for stage, kills in KILLS.items():
        for turn in range(kills):
            run = Run(lost, tmp_path / f"{stage}-{turn}.log")
            workbench.wait(lambda run=run, stage=stage: run.reaches(stage), seconds=120)
            if run.survives(rng.uniform(0, 4) if stage == "train" else rng.uniform(0, 3)):
                break
            run.kill([signal.SIGKILL, signal.SIGINT, "dvc alone", signal.SIGTERM][turn % 4])
            killed += 1
            resumed += "going on from step" in run.log.read_text()
    said = dvc(lost, "repro")
    assert (lost / "dvc.lock").read_text() == committed
    assert workbench.run(lost, "git", "status", "--porcelain", "--", "reports", "params.yaml") == ""
    assert not list(lost.glob(".checkpoints/*"))
    assert not list(left_over(lost))
    assert killed >= 20 and resumed + len(re.findall("going on from step", said)) >= 5
