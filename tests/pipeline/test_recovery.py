"""Every failure of a stage ends with what is intact, and with commands that do what they say."""

import json
import re
import shutil
import subprocess
import sys

import pipeline_repository
import pytest
from pipeline_repository import commit, dvc, edit
from places import ROOT

from refrain.pipeline import dvc_files, recovery

pytestmark = pytest.mark.heavy

STAGE = """
import os, signal, sys
from pathlib import Path
from omegaconf import OmegaConf
from refrain.pipeline import runner

name = Path(sys.argv[0]).stem

def main(overrides):
    cfg = OmegaConf.load("params.yaml")
    for out in (Path("models", name), Path("reports", name)):
        out.parent.mkdir(exist_ok=True)
        out.write_text(f"{name} {cfg.rate}")
    if name == "second" and cfg.rate == 2:
        raise ValueError("the rate is too high")
    if name == "second" and cfg.rate == 3:
        os.kill(os.getpid(), signal.SIGINT)
    if name == "second" and cfg.rate == 4:
        raise RuntimeError("never heard of")

runner.run_command(main, "A stage.", lambda: True)
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two stages, each with an output in DVC's cache and one in Git, run and committed."""
    folder = tmp_path_factory.mktemp("recovery") / "repository"
    folder.mkdir()
    stages = {
        name: {
            "cmd": f"python {name}.py",
            "deps": deps,
            "params": ["rate"],
            "outs": [f"models/{name}", {f"reports/{name}": {"cache": False}}],
        }
        for name, deps in {"first": [], "second": ["models/first"]}.items()
    }
    (folder / "dvc.yaml").write_text(json.dumps({"stages": stages}))
    (folder / "params.yaml").write_text("rate: 1\n")
    for name in stages:
        (folder / f"{name}.py").write_text(STAGE)
    pipeline_repository.init_git(folder)
    dvc(folder, "init", "-q")
    commit(folder)
    again(folder)
    commit(folder)
    return folder


@pytest.fixture
def bench(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "repository", symlinks=True)


def again(folder, *words, **settings):
    """What a run says."""
    return dvc(folder, *(words or ["repro"]), PYTHONPATH=f"{ROOT}:{pipeline_repository.PLAIN_INSTALL}", **settings)


def stage(folder, **environment):
    """What the second stage says when it fails, as DVC or a person starts it."""
    environment |= {"PYTHONPATH": f"{ROOT}:{pipeline_repository.PLAIN_INSTALL}"}
    return pipeline_repository.run(folder, sys.executable, "second.py", fails=True, **environment)


def ways(said):
    """What follows each of the three titles."""
    found = dict(re.findall(r"^(intact|go on|go back): +(.*)$", said, re.M))
    assert list(found) == ["intact", "go on", "go back"]
    return found


def type_commands(folder, text):
    """Do what stands in backticks."""
    (command,) = re.findall("`(.*?)`", text)
    pipeline_repository.run(folder, "sh", "-c", command)
    return command


def contents(folder):
    return {path: (folder / path).read_text() for path in ("models/first", "models/second", "reports/second")}


def test_the_way_back_in_the_workspace_brings_the_committed_run(bench):
    before = contents(bench)
    edit(bench / "params.yaml", {"rate": 2})
    said = again(bench, fails=True)
    assert "\nsecond: the rate is too high\nintact:  models/first, and in DVC's cache" in said
    assert (bench / "models/first").read_text() == "first 2", "the stage before is recorded with the new value"
    assert ways(said)["go on"].startswith("when that is put right, `dvc repro`: ")
    command = type_commands(bench, ways(said)["go back"])
    assert command == "git checkout HEAD -- dvc.lock reports/first reports/second && dvc checkout --force"
    assert contents(bench) == before
    edit(bench / "params.yaml", {"rate": 1})
    assert "up to date" in dvc(bench, "status")


@pytest.mark.parametrize(("place", "again"), [
    (".dvc/tmp/exps/standalone/tmp1", "the same `dvc exp run --temp` once more"),
    (".dvc/tmp/exps/tmp1", "`dvc queue remove tall-oak`, then the same `dvc exp run --queue` once more"),
])  # fmt: skip
def test_a_temporary_copy_has_nothing_to_go_back_to(place, again, bench, finished):
    copy = shutil.copytree(finished, bench / place, symlinks=True)
    edit(copy / "params.yaml", {"rate": 2})
    found = ways(stage(copy, DVC_STAGE="second", DVC_ROOT=str(bench), DVC_EXP_NAME="tall-oak"))
    assert found["go on"].startswith(f"when that is put right, {again}: ")
    assert "nothing to undo" in found["go back"]


def test_by_hand_the_outputs_of_the_stage_alone_are_brought_back(bench):
    before = contents(bench)
    edit(bench / "params.yaml", {"rate": 2})
    found = ways(stage(bench))
    assert found["intact"] == "all but models/second, reports/second"
    assert contents(bench) != before
    command = type_commands(bench, found["go back"])
    assert command == "git checkout HEAD -- reports/second && dvc checkout --force models/second"
    assert contents(bench) == before


@pytest.mark.parametrize(("rate", "code", "first", "on"), [
    (3, 130, "second: interrupted\n", "the same `dvc exp run` once more"),
    (4, 1, "Traceback (most recent call last):\n", "when that is put right, the same `dvc exp run` once more"),
])  # fmt: skip
def test_what_is_interrupted_and_what_nobody_foresaw_end_so_too(bench, rate, code, first, on):
    edit(bench / "params.yaml", {"rate": rate})
    environment = pipeline_repository.surroundings(bench) | {"PYTHONPATH": str(ROOT), "DVC_EXP_NAME": "tall-oak"}
    environment |= {"DVC_STAGE": "second", "DVC_ROOT": str(bench)}
    done = subprocess.run([sys.executable, "second.py"], cwd=bench, env=environment, capture_output=True, text=True)
    assert done.returncode == code and done.stderr.startswith(first)
    assert ways(done.stderr)["go on"].startswith(on)


def test_without_cache_or_commit_or_earlier_run_the_way_back_says_so(bench):
    edit(bench / "params.yaml", {"rate": 2})
    place = {"DVC_STAGE": "second", "DVC_ROOT": str(bench)}
    shutil.rmtree(bench / ".dvc/cache/files")
    assert "is not in DVC's cache: undo your edit" in ways(stage(bench, **place))["go back"]
    (bench / ".dvc/config.local").write_text("[core]\n    remote = far\n['remote \"far\"']\n    url = /far\n")
    assert "&& dvc pull --force` brings back the run of commit" in ways(stage(bench, **place))["go back"]
    lock = dvc_files.LOCK
    pipeline_repository.rewrite(bench / lock, "rate: 1", "rate: 5")
    assert ways(stage(bench, **place))["go back"].startswith("the run before this one was not committed: undo")
    (bench / lock).unlink()
    assert ways(stage(bench, **place))["go back"] == "there is no earlier run of second"


def test_one_of_several_processes_says_its_reason_alone(bench):
    edit(bench / "params.yaml", {"rate": 2})
    assert stage(bench, RANK="1") == "second: the rate is too high\n"


def test_outside_of_any_repository_nothing_breaks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert recovery.recovery_lines("second", True, False) == []
