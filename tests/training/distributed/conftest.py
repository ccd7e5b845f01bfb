import os
import subprocess
import sys

import forked_python
import presets
import pytest
from omegaconf import OmegaConf
from places import PLAIN_INSTALL, ROOT

from refrain.chat import records
from refrain.pipeline import paths


@pytest.fixture
def workspace(base, rows, tmp_path, monkeypatch):
    """Writes a folder in which the train stage can run, and goes there; gives its configuration."""

    def write(*overrides, rows=rows):
        cfg = presets.config(*overrides)
        paths.BASE.parent.mkdir()
        paths.BASE.symlink_to(base)
        paths.PREPARED.mkdir(parents=True)
        records.write_rows(paths.PREPARED / "train.jsonl", rows)
        records.write_rows(paths.PREPARED / "val.jsonl", rows[:3])
        paths.PARAMS.write_text(OmegaConf.to_yaml(OmegaConf.structured(cfg)))
        return cfg

    monkeypatch.chdir(tmp_path)
    return write


@pytest.fixture
def started():
    """Starts the stage as a person would; what still runs after the test is ended."""
    running = []

    def start(*overrides, is_forked=True):
        forked = forked_python.forked_stages() if is_forked else {}
        plain = {"PYTHONPATH": f"{PLAIN_INSTALL}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
        environment = os.environ | forked | plain
        command = [sys.executable, "-m", "stages.train", *overrides]
        running.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()
