"""A grid in DVC's queue and a search by Optuna leave experiments, and the best of them comes first."""

import csv
import io
import re
import sys

import pipeline_repository
import pytest
import yaml
from omegaconf import OmegaConf
from pipeline_repository import dvc

from refrain.pipeline import params, paths

SCORE = f"""
import json
from pathlib import Path
from omegaconf import OmegaConf
from refrain.pipeline import runner

def main(overrides):
    lr = OmegaConf.load("params.yaml").train.lr
    if lr > 9e-3:
        raise ValueError("the learning rate is too high")
    Path("reports").mkdir(exist_ok=True)
    Path("{paths.SUMMARY}").write_text(json.dumps({{"rougeL": {{"base": 1.0, "best": 1 - abs(lr - 4e-3)}}}}))

runner.run_command(main, "")
"""


@pytest.fixture
def repository(tmp_path):
    """Our conf/ and library around a pipeline of one stage, which scores a learning rate at once."""
    folder = tmp_path / "repository"
    pipeline_repository.copy(folder, "conf", "refrain", ".dvc", ".dvcignore", ".gitignore")
    OmegaConf.save(params.compose_with_hydra("config", folder / "conf", []), folder / "params.yaml")
    metrics = [{str(paths.SUMMARY): {"cache": False}}]
    stage = {"cmd": "python score.py", "deps": ["score.py"], "params": ["train.lr"], "metrics": metrics}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"score": stage}}))
    (folder / "score.py").write_text(SCORE)
    pipeline_repository.init_git(folder)
    dvc(folder, "repro")
    pipeline_repository.commit(folder)
    return folder


def ranked(folder):
    """Learning rate and score of each experiment, the best first, as the page on experiments has it."""
    shown = dvc(folder, "exp", "show", "--csv", "--precision", "9", "--sort-by", "rougeL.best", "--sort-order", "desc")
    rows = [row for row in csv.DictReader(io.StringIO(shown)) if row["typ"] != "baseline"]
    return [(float(row["train.lr"]), float(row["rougeL.best"])) for row in rows]


def search(folder, *arguments, **settings):
    return pipeline_repository.run(folder, sys.executable, "-m", "refrain.cli.main", "sweep", *arguments, **settings)


@pytest.mark.slow
def test_two_workers_finish_the_experiments_of_a_grid(repository):
    dvc(repository, "exp", "run", "--queue", "-n", "grid", "-S", "train.lr=1e-3,3e-3")
    assert "Started '2' new" in dvc(repository, "queue", "start", "-j", "2")
    pipeline_repository.wait_for_queue(repository, "grid", 2)
    dvc(repository, "queue", "stop")
    assert ranked(repository) == [(3e-3, 0.999), (1e-3, 0.997)]


@pytest.mark.slow
def test_a_search_leaves_experiments_calls_the_same_one_the_best_and_survives_a_trial_that_fails(repository):
    said = search(repository, "train.lr=interval(1e-3, 1e-2)", "hydra.sweeper.n_trials=3")
    best = OmegaConf.load(repository / "runs/sweep/optimization_results.yaml")
    found = ranked(repository)
    assert len(found) == 2
    assert found[0] == pytest.approx((best.best_params["train.lr"], best.best_value))
    table, *_, last = said.rpartition("\n\n")[2].splitlines()
    assert table.endswith(f"{best.best_value:.4f}"), "the best first"
    died = re.search(r"^(\S+)  train.lr=\S+ +died: score: the learning rate is too high$", said, re.M)[1]
    assert last.startswith(
        f"sweep: the best of 2 with a score is {table.split()[0]}; 1 died, and may have been better: {died};"
    )
    assert pipeline_repository.run(repository, "git", "status", "--porcelain") == ""


@pytest.mark.slow
def test_a_value_that_is_refused_costs_no_experiment(repository):
    said = search(repository, "train.lr=-1", "train.epochs=range(1, 3)", "hydra.sweeper.n_trials=2", fails=True)
    assert said.count("Failed experiment: train.lr=-1.0 must be above 0") == 2
    assert "Reproducing experiment" not in said
    assert said.splitlines()[-1] == "sweep: no trial of 2 has a score, so none is the best"


@pytest.mark.heavy
def test_a_key_that_does_not_exist_is_named(repository):
    said = search(repository, "train.rate=interval(1e-3, 1e-2)", fails=True)
    assert said.splitlines()[-1].startswith("sweep: Could not override 'train.rate'.")
