"""One training in two processes on Gloo: the same rows in each step, the same loss, one voice, one set of results."""

import csv
import os
import re
import signal
import subprocess
import sys

import presets
import psutil
import pytest
from omegaconf import OmegaConf
from places import ROOT
from safetensors.torch import load_file

from refrain.chat import records
from refrain.pipeline import paths
from refrain.pipeline.schema import LaunchConfig
from refrain.training import checkpoints
from refrain.training.distributed import launcher as workers
from refrain.training.distributed import processes
from stages import train

TWO = ("launch.processes=2",)
SHARDED = ("launch.processes=2", "launch.shard=true")


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

    def start(*overrides):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "stages.train", *overrides]
        running.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def finished(process):
    """The exit code, and all that was said."""
    said = process.communicate(timeout=120)[1]
    return process.returncode, said


def learned():
    """The weights, as numbers and as bytes, and the curves of train and val."""
    (file,) = paths.ADAPTER.glob("*.safetensors")
    tables = (paths.LOSS / "plots/metrics" / name / "loss.tsv" for name in ("train", "val"))
    curves = [[float(row["loss"]) for row in csv.DictReader(table.open(), delimiter="\t")] for table in tables]
    return load_file(file), file.read_bytes(), *curves


@pytest.mark.slow
@pytest.mark.parametrize("launch", [TWO, SHARDED], ids=["whole", "sharded"])
@pytest.mark.parametrize(
    "overrides",
    [
        [*presets.SMALL, "train.lr=1e-2", "train.batch_size=5", "train.packing=true"],
        ["method=full", "train.lr=3e-3", "train.batch_size=15", "train.packing=false", "train.micro_batch_tokens=60"],
    ],
    ids=["lora-packed", "full-padded-in-small-passes"],
)
def test_two_processes_learn_what_one_learns(workspace, started, overrides, launch):
    """16 rows in steps of 5 and of 15: the last step has a single row, which only one process has."""
    train.main(workspace("train.epochs=2", "train.patience=1", *overrides))
    one, _, *curves = learned()
    code, said = finished(started(*launch))
    assert code == 0, said
    two, _, *again = learned()
    assert [pytest.approx(curve, abs=1e-4) for curve in curves] == again and curves[0][0] > curves[0][-1] + 0.5
    assert one.keys() == two.keys() and all((one[name] - two[name]).abs().max() < 1e-4 for name in one)
    assert not list(checkpoints.checkpoints_root().iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("launch", [TWO, SHARDED], ids=["whole", "sharded"])
def test_a_training_that_was_asked_to_stop_goes_on_to_the_same_bytes(workspace, started, launch):
    """With dropout, so that the chance of each process must have been kept."""
    workspace(*presets.SMALL, "train.epochs=20", "train.batch_size=3", "method.adapter.dropout=0.1")
    stopped = started(*launch)
    next(line for line in stopped.stderr if "step  24" in line)
    stopped.send_signal(signal.SIGTERM)
    code, said = finished(stopped)
    assert code == 130 and re.search(r"train: stopped at step \d+ \(SIGTERM\); the next run goes on from there$", said)
    (folder,) = (path for path in checkpoints.checkpoints_root().iterdir() if path.is_dir())
    kept = checkpoints.latest_checkpoint(folder)
    assert len(list(kept.glob("rng_state_*.pth"))) == 2

    code, said = finished(started(*launch))
    assert code == 0 and f"going on from step {kept.name.rpartition('-')[2]}\n" in said
    resumed = learned()
    assert finished(started(*launch))[0] == 0
    assert learned()[1:] == resumed[1:]


@pytest.mark.slow
def test_a_worker_that_is_lost_ends_all_with_a_sentence(workspace, started):
    workspace(*presets.SMALL, "train.epochs=500", "train.batch_size=3")
    launcher = started(*TWO)
    next(line for line in launcher.stderr if "step " in line or "lr " in line)
    family = psutil.Process(launcher.pid).children()
    next(worker for worker in family if worker.environ()["RANK"] == "1").kill()
    code, said = finished(launcher)
    assert code == 1 and said.endswith(
        "train: process 1 of 2 was ended by SIGKILL; the next run goes on from the last checkpoint\n"
    )
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
    assert not workers.launch_workers(LaunchConfig(name="", processes=1, shard=False))


def test_as_many_must_have_been_started_as_are_configured(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "8")
    with pytest.raises(ValueError, match=r"^launch\.processes=2, and WORLD_SIZE says that 8 were started; set .*=8$"):
        workers.launch_workers(LaunchConfig(name="", processes=2, shard=False))


@pytest.mark.parametrize("things", [0, 1, 4, 5, 6])
def test_each_thing_is_the_turn_of_one_process_and_all_have_as_many_turns(things, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    dealt = []
    for number in range(3):
        monkeypatch.setenv("RANK", str(number))
        dealt.append(list(processes.own_turns(things)))
    assert len(set(map(len, dealt))) == 1
    assert sorted(turn for turns in dealt for turn in turns if turn < things) == list(range(things))


def test_a_world_size_without_a_rank_is_not_ours(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert processes.world_size() == 1
