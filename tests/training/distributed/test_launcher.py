import subprocess
import sys

import presets
import psutil
import pytest
from two_processes import TWO, finished

from refrain.pipeline import paths
from refrain.pipeline.schema import LaunchConfig
from refrain.training.distributed import launcher, workers


@pytest.mark.slow
def test_a_worker_that_is_lost_ends_all_with_a_sentence(workspace, started):
    workspace(*presets.SMALL, "train.epochs=500", "train.batch_size=3")
    stage = started(*TWO, is_forked=False)
    next(line for line in stage.stderr if "step " in line or "lr " in line)
    family = psutil.Process(stage.pid).children()
    next(worker for worker in family if worker.environ()["RANK"] == "1").kill()
    code, said = finished(stage)
    sentence = "train: process 1 of 2 was ended by SIGKILL; the next run goes on from the last checkpoint\n"
    assert code == 1 and sentence in said
    assert "Traceback" not in said and not any(worker.is_running() for worker in family)


@pytest.mark.slow
def test_what_is_wrong_for_all_is_said_once(workspace, started):
    workspace("method=dpo")  # and no row has a rejected reply
    code, said = finished(started(*TWO))
    assert code == 1 and said.count("train: ") == 1 and "Traceback" not in said
    assert not paths.ADAPTER.exists()


def test_what_is_wrong_with_the_configuration_starts_no_worker(workspace, started):
    workspace()
    code, said = finished(started(*TWO, "launch.shard=perhaps"))
    assert code == 1 and said.startswith("train: ") and "2 processes" not in said


def worker(code, said):
    with said.open("wb") as file:
        return subprocess.Popen([sys.executable, "-c", code], stdout=file, stderr=file)


def test_who_waits_for_one_that_failed_is_ended(monkeypatch, tmp_path):
    monkeypatch.setattr(workers, "GRACE", 0.1)
    codes = ["import signal; signal.pause()", "raise SystemExit(3)", "pass"]
    assert workers.wait_for_all([worker(code, tmp_path / "said") for code in codes]) == [1, 0]


def test_a_traceback_is_kept_and_named_in_one_sentence(tmp_path):
    both = [worker(code, workers.log_file(tmp_path, number)) for number, code in enumerate(["1", "1 / 0"])]
    kept = workers.log_file(tmp_path, 1)
    with pytest.raises(
        ValueError, match=rf"^process 1 of 2 failed: ZeroDivisionError: .*; {kept} holds its traceback$"
    ):
        workers.report_failure(workers.wait_for_all(both), both, tmp_path)
    assert "Traceback" in kept.read_text()


def test_one_process_is_no_launch(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    assert not launcher.launch_workers(LaunchConfig(name="", processes=1, shard=False))


def test_as_many_must_have_been_started_as_are_configured(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "8")
    with pytest.raises(ValueError, match=r"^launch\.processes=2, and WORLD_SIZE says that 8 were started; set .*=8$"):
        launcher.launch_workers(LaunchConfig(name="", processes=2, shard=False))


def test_the_last_words_of_one_that_aborts_are_kept(tmp_path):
    codes = ["1", "import os; print('half done\\nterminate called', flush=True); os.abort()"]
    both = [worker(code, workers.log_file(tmp_path, number)) for number, code in enumerate(codes)]
    kept = workers.log_file(tmp_path, 1)
    with pytest.raises(ValueError, match=rf"^process 1 of 2 was ended by SIGABRT: terminate called; {kept} holds all"):
        workers.report_failure(workers.wait_for_all(both), both, tmp_path)
    assert kept.read_text() == "half done\nterminate called\n"
