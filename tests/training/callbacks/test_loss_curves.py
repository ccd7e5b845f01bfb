"""The curves of a training: the same bytes for the same facts, drawn by DVC while they grow and after."""

import json
import shutil

import pipeline_repository
import pytest
import yaml
from pipeline_repository import dvc

from refrain.pipeline import paths
from refrain.training.callbacks import loss_curves

TRAIN, VAL, LR = [(1, 2.5), (2, 1.2345678)], [(0, 3.0), (2, 1.5)], [(1, 1e-3), (2, 3.3333333e-07)]
TRAINING = f"""
from pathlib import Path
from transformers import TrainerControl, TrainerState, TrainingArguments
from refrain.training.callbacks.loss_curves import DVCLiveCallback

state = TrainerState(log_history=[{{"step": 0, "eval_loss": 3.0}}])
told = TrainingArguments("scratch", report_to=[], use_cpu=True), state, TrainerControl()
live = DVCLiveCallback(Path("{paths.LOSS}"))
live.on_train_begin(*told)
first, second = {{"step": 1, "loss": 2.5, "learning_rate": 1e-3}}, {{"step": 2, "loss": 1.5}}
for entry in first, second, {{"step": 2, "eval_loss": 2.5}}:
    state.log_history.append(entry)
    live.on_log(*told)
    print("after step", entry["step"], sorted(path.name for path in Path("{paths.LOSS}").rglob("*.tsv")))
live.on_epoch_end(*told)
live.on_train_end(*told)
"""


def contents(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_curves_are_the_files_of_dvclive(tmp_path):
    loss_curves.write_curves(tmp_path, train=TRAIN, val=VAL, kept=VAL[1:], lr=LR)
    assert contents(tmp_path) == {
        "plots/metrics/kept/loss.tsv": "step\tloss\n2\t1.5\n",
        "plots/metrics/train/loss.tsv": "step\tloss\n1\t2.5\n2\t1.23457\n",
        "plots/metrics/train/lr.tsv": "step\tlr\n1\t0.001\n2\t3.33333e-07\n",
        "plots/metrics/val/loss.tsv": "step\tloss\n0\t3.0\n2\t1.5\n",
    }


def test_curves_replace_those_of_an_earlier_run(tmp_path):
    loss_curves.write_curves(tmp_path, train=TRAIN, val=VAL)
    loss_curves.write_curves(tmp_path, train=TRAIN[:1])
    assert contents(tmp_path) == {"plots/metrics/train/loss.tsv": "step\tloss\n1\t2.5\n"}


@pytest.fixture
def repository(tmp_path):
    """A repository of one stage, which does to DVCLive what a training does, with the curves of our dvc.yaml."""
    folder = tmp_path / "repository"
    folder.mkdir()
    pipeline_repository.init_git(folder)
    dvc(folder, "init", "--quiet")
    ours = yaml.safe_load((pipeline_repository.ROOT / "dvc.yaml").read_text())
    stage = {"cmd": "python train.py", "deps": ["train.py"], "outs": [str(paths.LOSS)]}
    curves = [plot for plot in ours["plots"] if str(paths.LOSS) in str(plot)]
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"train": stage}, "plots": curves}))
    (folder / "train.py").write_text(TRAINING)
    shutil.copytree(pipeline_repository.ROOT / ".dvc/plots", folder / ".dvc/plots")
    (folder / ".gitignore").write_text("/reports/loss\n/dvc_plots\n")
    pipeline_repository.commit(folder)
    return folder


@pytest.mark.slow
def test_dvclive_follows_a_training_and_leaves_the_repository_alone(repository):
    before = (repository / "dvc.yaml").read_text()
    said = dvc(repository, "exp", "run", "-n", "watched", PYTHONPATH=str(pipeline_repository.ROOT))
    assert "after step 1 ['loss.tsv', 'loss.tsv', 'loss.tsv', 'lr.tsv']" in said
    assert (repository / "dvc.yaml").read_text() == before
    assert pipeline_repository.run(repository, "git", "status", "--porcelain").split()[1:] == ["dvc.lock"]
    assert dvc(repository, "exp", "list", "--name-only").split() == ["watched"]
    assert not list((repository / ".dvc/tmp/exps").rglob("DVCLIVE*"))  # what it leaves for VS Code while it runs

    drawn = json.loads(dvc(repository, "plots", "show", "--json"))["data"]
    points = {(each["filename"], each["step"], each["loss"]) for each in drawn["loss"][0]["content"]["data"]["values"]}
    train, val = {("train/loss.tsv", "1", "2.5"), ("train/loss.tsv", "2", "1.5")}, {("val/loss.tsv", "0", "3.0")}
    assert points == train | val | {("val/loss.tsv", "2", "2.5")}


def test_curves_of_a_training_without_validation_are_drawn_without_complaint(repository):
    loss_curves.write_curves(repository / paths.LOSS, train=TRAIN, val=[], kept=[], lr=LR)
    assert "failed" not in dvc(repository, "plots", "show")


def test_every_curve_has_a_word_of_the_trainer_but_that_of_what_was_kept():
    assert sorted([*loss_curves.LOGGED.values(), "kept"]) == sorted(loss_curves.METRICS)
