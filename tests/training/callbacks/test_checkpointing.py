import logging
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager

import psutil
import pytest
from places import PLAIN_INSTALL
from short_trainings import DROPPING, FULL, At, die, digest, fit, interrupt

from refrain.training import checkpoints
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


@pytest.mark.heavy
def test_the_nearest_dvc_is_the_one_that_is_watched():
    """Through a shell, as DVC starts a stage."""
    ask = "from refrain.training.callbacks import checkpointing as callback;"
    ask += "print({name: each.pid for name, each in callback.find_parent_processes().items()})"
    through = "import subprocess, sys; subprocess.run(['/bin/sh', '-c', sys.argv[1]])"
    command = [sys.executable, "-c", through, f"{sys.executable} -c '{ask}'; true", "dvc", "repro"]
    environment = os.environ | {"DVC_STAGE": "train", "PYTHONPATH": str(PLAIN_INSTALL)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as dvc:
        assert dvc.communicate()[0] == f"{{'dvc': {dvc.pid}}}\n"


def test_an_interval_that_is_no_number_is_one_sentence(monkeypatch):
    monkeypatch.setenv(checkpointing.INTERVAL_VARIABLE, "often")
    with pytest.raises(ValueError, match=r"^REFRAIN_CHECKPOINT_SECONDS=often is no number of seconds; correct or "):
        checkpointing.CheckpointCallback()


@pytest.mark.heavy
@pytest.mark.parametrize("method", [FULL, DROPPING], ids=["full", "lora"])
@pytest.mark.parametrize("step", range(1, 9))
def test_a_killed_training_ends_in_the_bytes_of_one_never_killed(
    base, features, tmp_path, undisturbed, eager, method, step
):
    settings = {"held_out": features[:3], "method": method, "epochs": 2, "schedule": "cosine"}
    with pytest.raises(RuntimeError, match="lights"):
        fit(base, features, tmp_path / "killed", callbacks=[At(step, die)], **settings)
    resumed, again = fit(base, features, tmp_path / "killed", **settings)
    assert (digest(resumed), again) == undisturbed(**settings)


@pytest.mark.heavy
@pytest.mark.parametrize("step", range(1, 8))
def test_a_signal_ends_a_training_after_its_step_and_the_next_goes_on_from_there(
    base, features, tmp_path, undisturbed, step, caplog
):
    settings = {"held_out": features[:3], "epochs": 2}
    with pytest.raises(
        KeyboardInterrupt, match=rf"^stopped at step {step} \(SIGTERM\); the next run goes on from there$"
    ):
        fit(base, features, tmp_path / "stopped", callbacks=[At(step, interrupt)], **settings)
    assert checkpoints.latest_checkpoint(tmp_path / "stopped").name == f"checkpoint-{step}"
    caplog.set_level(logging.INFO, "refrain")
    resumed, again = fit(base, features, tmp_path / "stopped", **settings)
    assert f"going on from step {step}" in caplog.text
    assert (digest(resumed), again) == undisturbed(**settings)


def test_a_signal_in_the_last_step_changes_nothing(base, features, tmp_path):
    _, curves = fit(base, features, tmp_path, epochs=1, callbacks=[At(4, interrupt)])
    assert len(curves.train) == 4
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_second_signal_ends_a_training_at_once(base, features, tmp_path):
    twice = [At(2, interrupt), At(2, interrupt)]
    with pytest.raises(KeyboardInterrupt, match=r"^SIGTERM twice$"):
        fit(base, features, tmp_path, callbacks=twice)
    assert checkpoints.latest_checkpoint(tmp_path) is None


def test_one_checkpoint_is_kept(base, features, tmp_path, eager):
    seen = []
    with pytest.raises(RuntimeError):
        callbacks = [At(step, lambda: seen.append(len(checkpoints.list_checkpoints(tmp_path)))) for step in range(3, 7)]
        fit(base, features, tmp_path, callbacks=[*callbacks, At(7, die)])
    assert set(seen) == {1}


@pytest.fixture
def small_files():
    """While it is entered no file can grow beyond so many bytes, as on a full disk."""

    @contextmanager
    def limit(size):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


@pytest.mark.heavy
@pytest.mark.parametrize("size", [0, 1000, 100_000, 500_000], ids=["nothing", "little", "half", "the optimiser not"])
def test_a_disk_that_is_full_in_the_middle_loses_one_checkpoint(
    base, features, tmp_path, undisturbed, small_files, size
):
    settings = {"held_out": features[:3], "epochs": 2}
    with pytest.raises(KeyboardInterrupt):
        fit(base, features, tmp_path / "cut", callbacks=[At(2, interrupt)], **settings)
    full = r"the checkpoint of step 5 could not be written \(.*\); make room, and the next run goes on"
    with small_files(size), pytest.raises(OSError, match=full):
        fit(base, features, tmp_path / "cut", callbacks=[At(5, interrupt)], **settings)
    assert checkpoints.latest_checkpoint(tmp_path / "cut").name == "checkpoint-2"
    resumed, again = fit(base, features, tmp_path / "cut", **settings)
    assert (digest(resumed), again) == undisturbed(**settings)
