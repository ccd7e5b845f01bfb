"""`refrain learning-curve` on a toy that answers more rightly the more rows it learns from."""

import json
import os
import sys
from pathlib import Path

import pytest
import scored_repository
from pipeline_repository import run, surroundings

from refrain.cli import main
from refrain.experiments import learning_curve

VALUES = [
    {"share": 0.25, "rows": 250, "score": 0.1, "low": 0.05, "high": 0.2},
    {"share": 1.0, "rows": 1000, "score": 0.9, "low": 0.8, "high": 0.95,
     "difference": 0.8, "p_adjusted": 0.0001, "verdict": "better"},
]  # fmt: skip


@pytest.fixture
def repository(tmp_path, monkeypatch):
    folder = scored_repository.repository(tmp_path / "repository")
    for name in [name for name in os.environ if name.startswith(("DVC_", "GIT_"))]:
        monkeypatch.delenv(name)
    for name, value in surroundings(folder).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.heavy
def test_each_share_is_an_experiment_and_the_workspace_stays(repository, capfd, monkeypatch):
    assert main.main(["learning-curve", "skill=0.8", "--shares", "1", "0.25", "--metric", "exact_match", "--json"]) == 0
    first, last = json.loads(capfd.readouterr().out)
    assert (first["share"], first["rows"], first["score"]) == (0.25, 250, 0.2)
    assert (last["share"], last["rows"], last["score"], last["verdict"]) == (1.0, 1000, 0.8, "better")
    assert first["low"] < 0.2 < first["high"] < last["low"] < 0.8
    assert "<svg" in Path("runs/learning-curve.svg").read_text()
    made = {name.split("/")[-1] for name in run(repository, "git", "for-each-ref", "refs/exps").split()}
    assert {"curve-0.25", "curve-1"} <= made
    assert run(repository, "git", "status", "--porcelain", "--untracked-files=no") == ""
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    assert main.main(["learning-curve", "skill=0.8", "--shares", "1", "0.25", "--metric", "exact_match", "--json"]) == 0
    again = capfd.readouterr()
    assert json.loads(again.out) == [first, last], "typed again"
    assert again.err.count("Stage 'evaluate' is cached") == 2, "what has finished is not run again"
    assert "runs/learning-curve.svg is not written: pictures are drawn by vl-convert-python" in again.err


def test_the_table_says_what_the_last_rows_brought():
    said = learning_curve.curve_report(VALUES, "rougeL")
    assert said.splitlines()[2].split() == ["0.25", "250", "0.1000", "0.0500", "to", "0.2000", "-", "-", "-"]
    assert said.splitlines()[3].split()[-3:] == ["+0.8000", "<0.001", "better"]
    assert said.endswith("the last rows still helped, so more of them are likely to")


@pytest.mark.parametrize(("arguments", "said"), [
    (["--shares", "1"], "a curve needs two shares"),
    (["--metric", "speed"], "--metric speed: there is no such score; choose from exact_match"),
])  # fmt: skip
def test_what_cannot_become_a_curve_is_said_before_anything_runs(arguments, said, tmp_path, monkeypatch, capsys):
    (tmp_path / "conf").mkdir()
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert main.main(["learning-curve", *arguments]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("shares", "said"), [
    (["0.5", "1", "method=full"], "method=full is no share; key=value stands before --shares, or behind --"),
    (["half", "1"], "half is no share above 0, up to 1"),
])  # fmt: skip
def test_a_share_that_is_none_is_told_from_a_setting(shares, said, capsys):
    with pytest.raises(SystemExit):
        main.main(["learning-curve", "--shares", *shares])
    assert said in capsys.readouterr().err
