"""A pipeline that is killed at any moment, in any way, and run again ends in the bytes of one that never was."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from functools import partial

import forked_python
import pipeline_repository
import psutil
import pytest
import yaml
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from pipeline_repository import dvc
from voluptuous import Invalid

from refrain.training.callbacks.checkpointing import INTERVAL_VARIABLE

pytestmark = pytest.mark.slow
WAYS = [signal.SIGKILL, signal.SIGINT, signal.SIGTERM, "dvc alone"]
KILLS = {"base": 1, "prepare": 1, "train": len(WAYS) + 1, "merge": 1, "export_onnx": 1, "evaluate": 1}


@pytest.fixture
def finished(finished_pipeline, tmp_path):
    """A repository that has run once and is committed."""
    return shutil.copytree(finished_pipeline, tmp_path / "repository", symlinks=True)


@pytest.fixture
def lost(finished):
    """The same without a single output, nor a way to restore one."""
    for place in ("models", "data/prepared", ".dvc/cache", ".dvc/tmp", "reports"):
        pipeline_repository.run(finished, "rm", "-rf", place)
    return finished


def remove_torn_lock(folder):
    """As docs/training.md says: killed while it writes a file of its own, DVC leaves a part and refuses to start."""
    lock = folder / ".dvc/tmp/rwlock"
    try:
        json.loads(lock.read_text() if lock.exists() else "{}")
    except ValueError:
        lock.unlink()
    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.safe_load((folder / "dvc.lock").read_text()))
    except (yaml.YAMLError, Invalid):
        pipeline_repository.run(folder, "git", "checkout", "dvc.lock")


class Run:
    """A `dvc` with checkpoints as often as may be, to be killed; a forked stage would not find it among its parents."""

    def __init__(self, folder, log, *words, is_forked=True):
        self.folder, self.log = folder, log
        remove_torn_lock(folder)
        settings = pipeline_repository.surroundings(folder) | {INTERVAL_VARIABLE: "0"}
        if is_forked:
            settings |= forked_python.forked_stages()
        with log.open("w") as said:
            self.process = subprocess.Popen([sys.executable, "-m", "dvc", *words], cwd=folder, env=settings,
                                            stdout=said, stderr=said, start_new_session=True)  # fmt: skip

    def reaches(self, stage, before):
        """Whether the stage has begun, or a training got further than before; True as well when all is over."""
        begun = f"Running stage '{stage}'" in self.log.read_text()
        return self.process.poll() is not None or (begun and (stage != "train" or progress(self.folder) > before))

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
            pipeline_repository.wait(lambda: not list(left_over(self.folder)))
        self.process.wait()


def progress(folder):
    """The step of the newest checkpoint that was sealed."""
    sealed = folder.glob(".checkpoints/*/checkpoint-*/manifest.json")
    return max((int(path.parent.name.rpartition("-")[2]) for path in sealed), default=0)


def left_over(folder):
    """The processes of stages that are still alive in a folder."""
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = " ".join(process.info["cmdline"] or [])
        if process.info["cwd"] == str(folder) and ("stages." in words or forked_python.SERVER in words):
            yield process


def test_killed_again_and_again_in_every_stage_it_ends_in_the_same_bytes(lost, tmp_path):
    committed = pipeline_repository.run(lost, "git", "show", "HEAD:dvc.lock")
    rng, resumed, killed = random.Random(4), 0, 0
    for stage, kills in KILLS.items():
        for turn in range(kills):
            before, how = progress(lost), WAYS[turn % len(WAYS)]
            run = Run(lost, tmp_path / f"{stage}-{turn}.log", "repro", is_forked=how != "dvc alone")
            pipeline_repository.wait(partial(run.reaches, stage, before))
            if run.survives(rng.uniform(0, 0.4 if stage == "train" else 1)):
                break
            run.kill(how)
            killed += 1
            resumed += "going on from step" in run.log.read_text()
    remove_torn_lock(lost)
    dvc(lost, "repro")
    assert (lost / "dvc.lock").read_text() == committed
    assert pipeline_repository.run(lost, "git", "status", "--porcelain", "--", "reports", "params.yaml") == ""
    assert not list(lost.glob(".checkpoints/*"))
    assert not list(left_over(lost))
    assert killed >= 7 and resumed >= 2


def test_an_experiment_in_a_temporary_copy_goes_on_where_another_was_killed(finished, tmp_path):
    words = ("exp", "run", "--temp", "-S", "train.lr=0.004", "train")
    run = Run(finished, tmp_path / "killed.log", *words)
    pipeline_repository.wait(partial(run.reaches, "train", 0))
    run.kill(signal.SIGKILL)
    remove_torn_lock(finished)
    assert "going on from step" in dvc(finished, *words)
    assert not list(finished.glob(".checkpoints/*"))
