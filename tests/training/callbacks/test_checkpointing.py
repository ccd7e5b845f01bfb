import os
import subprocess
import sys

import psutil
import pytest

from refrain.training.callbacks import checkpointing


def test_a_process_that_has_ended_is_not_alive_waited_for_or_not():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        process = psutil.Process(child.pid)
        assert checkpointing.is_alive(process)
        child.stdin.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and nobody has asked how
        assert not checkpointing.is_alive(process)
    assert not checkpointing.is_alive(process)


def test_a_training_that_no_dvc_has_started_waits_for_none(monkeypatch):
    monkeypatch.delenv("DVC_STAGE", raising=False)
    assert checkpointing.find_parent_processes() == {}


def test_the_nearest_dvc_is_the_one_that_is_watched():
    """Through a shell, as DVC starts a stage."""
    ask = "from refrain.training.callbacks import checkpointing as callback;"
    ask += "print({name: each.pid for name, each in callback.find_parent_processes().items()})"
    through = "import subprocess, sys; subprocess.run(['/bin/sh', '-c', sys.argv[1]])"
    command = [sys.executable, "-c", through, f"{sys.executable} -c '{ask}'; true", "dvc", "repro"]
    settings = {"env": os.environ | {"DVC_STAGE": "train"}, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **settings) as dvc:
        assert dvc.communicate()[0] == f"{{'dvc': {dvc.pid}}}\n"


def test_an_interval_that_is_no_number_is_one_sentence(monkeypatch):
    monkeypatch.setenv(checkpointing.INTERVAL_VARIABLE, "often")
    with pytest.raises(ValueError, match=r"^REFRAIN_CHECKPOINT_SECONDS=often is no number of seconds; correct or "):
        checkpointing.CheckpointCallback()
