"""Four trackers follow a training without changing it, and what they keep on this machine can be read back."""

import json
import os
import re
import struct
import sys
import zipfile

import pipeline_repository
import pytest
from places import ROOT

from refrain.pipeline import schema
from refrain.training.callbacks import loss_curves, trackers

slow = pytest.mark.slow

SCRIPT = ROOT / "tests/support/tracked_training.py"
PERSONAL = ("WANDB_", "MLFLOW_", "COMET_", "PYTEST_", "CI")  # in tests MLflow is silent by itself
NAMES = ("loss", "eval_loss")


@pytest.fixture(autouse=True)
def environment():
    """As it was before: trackers read their settings there."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The workspace of a training that ran in a temporary copy of it, and what else that left."""
    workspace, copy = tmp_path_factory.mktemp("workspace"), tmp_path_factory.mktemp("copy")
    with pytest.MonkeyPatch.context() as environment:
        for name in filter(lambda name: name.startswith(PERSONAL), list(os.environ)):
            environment.delenv(name)
        settings = {
            "PYTHONPATH": str(pipeline_repository.ROOT),
            "DVC_ROOT": str(workspace),
            "HOME": str(tmp_path_factory.mktemp("home")),
        }
        pipeline_repository.run(copy, sys.executable, str(SCRIPT), **settings)
    for name in ("facts.json", "loss"):
        (copy / name).rename(workspace / name)
    assert [path.name for path in copy.iterdir()] == ["scratch"]
    return workspace


@pytest.fixture(scope="module")
def facts(folder):
    return json.loads((folder / "facts.json").read_text())


def curves(history):
    """Loss and validation loss by step."""
    return {name: [(e["step"], pytest.approx(e[name], rel=1e-6)) for e in history if name in e] for name in NAMES}


def wandb(folder):
    from wandb.proto.wandb_internal_pb2 import Record

    for file in sorted(folder.glob("offline-run-*/*.wandb")):
        records = [Record.FromString(record) for record in chunks(file.read_bytes())]
        rows = [{item.nested_key[0] if item.nested_key else item.key: json.loads(item.value_json)
                 for item in record.history.item} for record in records if record.HasField("history")]  # fmt: skip
        points = {name: [(row["train/global_step"], row[key]) for row in rows if key in row]
                  for name, key in zip(NAMES, ("train/loss", "eval/loss"), strict=True)}  # fmt: skip
        yield next(record.run.display_name for record in records if record.HasField("run")), points


def chunks(data):
    """The records of a .wandb file: a log of blocks of 32 KiB, in which a long record lies in pieces."""
    at, piece = 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        size, kind = struct.unpack_from("<HB", data, at + 4)
        piece += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last piece
            yield piece
            piece = b""


def mlflow(folder):
    from mlflow import MlflowClient

    client = MlflowClient(folder.as_uri())
    experiment = client.get_experiment_by_name("refrain").experiment_id
    for each in client.search_runs([experiment], order_by=["start_time"]):
        assert each.info.status == "FINISHED"
        histories = {name: client.get_metric_history(each.info.run_id, name) for name in NAMES}
        yield each.info.run_name, {name: [(m.step, m.value) for m in found] for name, found in histories.items()}


def tensorboard(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for run in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime):
        events = EventAccumulator(str(run)).Reload()
        found = [events.Scalars("train/loss"), events.Scalars("eval/loss")]
        points = {name: [(e.step, e.value) for e in scalars] for name, scalars in zip(NAMES, found, strict=True)}
        yield re.sub(r"-\d{8}-.*", "", run.name), points


def comet(folder):
    for file in sorted(folder.glob("*.zip"), key=lambda path: path.stat().st_mtime):
        messages = [json.loads(line)["payload"] for line in zipfile.ZipFile(file).read("messages.json").splitlines()]
        metrics = [message["metric"] for message in messages if "metric" in message]
        points = {name: [(m["step"], m["metricValue"]) for m in metrics if m["metricName"] == key]
                  for name, key in zip(NAMES, ("train/loss", "eval/loss"), strict=True)}  # fmt: skip
        yield next(message["value"] for message in messages if message.get("key") == "Name"), points


@slow
@pytest.mark.parametrize("read", [wandb, mlflow, tensorboard, comet], ids=schema.TRACKERS)
def test_the_curve_of_each_training_is_kept_in_the_workspace(read, folder, facts, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    kept = list(read(folder / "runs" / read.__name__))
    assert [name for name, _ in kept] == ["first", "resumed"]
    history = facts["plain"]["history"]
    assert len(history) == 4
    assert kept[0][1] == curves(history)
    assert kept[1][1] == curves(history[2:])  # from the checkpoint on


@slow
def test_a_tracker_changes_neither_the_losses_nor_the_weights_nor_the_chance_after_them(facts):
    for name in ("first", "resumed"):
        assert facts[name]["weights"] == facts["plain"]["weights"]
        assert facts[name]["chance"] == facts["plain"]["chance"]
        assert exact(facts[name]) == exact(facts["plain"])


def exact(facts):
    return [[entry.get(name) for name in ("step", "loss", "grad_norm", "learning_rate", "eval_loss")]
            for entry in facts["history"]]  # fmt: skip


@slow
def test_nothing_outside_of_this_machine_is_asked(facts):
    assert facts["calls"] == []


@slow
def test_no_weights_are_kept(folder):
    sizes = {path: path.stat().st_size for path in (folder / "runs").rglob("*") if path.is_file()}
    assert not [path for path in sizes if path.suffix in (".safetensors", ".pt", ".bin", ".pth")]


@pytest.mark.parametrize(("name", "package"), [("wandb", "wandb"), ("comet", "comet_ml")])
def test_a_package_that_is_not_installed_is_named_with_the_way_to_it(name, package, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    sentence = f"train.report_to={name} needs the package {package}: pip install 'refrain-lm[{name}]'"
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        trackers.callbacks([name], "a run")


def test_a_package_that_the_environment_forbids_is_named(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_DISABLED", "true")
    with pytest.raises(ValueError, match=r"^train\.report_to=wandb: .* also set the `WANDB_DISABLED`"):
        trackers.callbacks(["wandb"], "a run")


def test_what_a_person_has_set_wins(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    trackers.callbacks(["mlflow"], "a run")
    assert (os.environ["MLFLOW_TRACKING_URI"], os.environ["MLFLOW_EXPERIMENT_NAME"]) == ("http://127.0.0.1:9", "mine")


def test_no_tracker_is_no_callback_and_no_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert trackers.callbacks([], "a run") == []
    assert list(tmp_path.iterdir()) == []


def test_there_is_a_tracker_for_each_name_that_the_configuration_allows():
    assert tuple(trackers.TRACKERS) == schema.TRACKERS


@slow
def test_curves_that_grew_while_training_are_those_of_its_history(folder, facts, tmp_path):
    history = facts["plain"]["history"]
    loss_curves.write_curves(tmp_path, kept=[], **{
        ours: [(entry["step"], entry[theirs]) for entry in history if theirs in entry]
        for theirs, ours in loss_curves.LOGGED.items()
    })  # fmt: skip
    assert contents(folder / "loss/plots") == contents(tmp_path / "plots") != {}


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
