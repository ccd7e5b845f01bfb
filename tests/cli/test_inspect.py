"""`refrain inspect`: the facts and needs of a folder or a repository, or why it is none."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from hub_server import serve
from places import ROOT

from refrain.cli import main


@pytest.fixture
def repository(tmp_path):
    """A repository in which nothing has run."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "conf").symlink_to(ROOT / "conf")
    return folder


@pytest.fixture
def inspect(capsys, monkeypatch, repository):
    """The exit code, stdout and stderr of the command in a repository."""
    monkeypatch.chdir(repository)

    def run(*arguments):
        code = main.main(["inspect", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


def lines(text):
    """The facts of the first table, and the rows of the second by stage."""
    return {line.split("  ")[0]: re.split(r"\s{2,}", line)[1:] for line in text.splitlines() if "  " in line}


def test_a_folder_says_what_it_is_and_needs(inspect, base):
    code, out, err = inspect(base)
    found = lines(out)
    assert (code, err) == (0, ""), out
    assert found["family"] == ["llama, LlamaForCausalLM"]
    assert found["context"] == ["256 tokens"]
    assert found["attention"] == ["2 layers, 4 heads, 2 of keys and values, 32 wide"]
    assert "system: yes" in found["template"][0]
    assert {"base", "train", "merge", "export_onnx", "evaluate", "serve int8"} <= set(found)
    assert "method=lora" in out


def test_estimates_are_for_the_method_that_is_named(inspect, base):
    assert "method=full" in inspect(base, "method=full")[1]


def test_outside_a_repository_the_facts_remain(inspect, base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = inspect(base)
    assert code == 0 and "256 tokens" in out and "no estimates" in out


@pytest.mark.parametrize("wrong", ["method=none", "train.nope=1"])
def test_a_wrong_override_is_one_sentence(inspect, base, wrong):
    code, out, err = inspect(base, wrong)
    assert (code, out) == (1, "") and err.startswith("refrain: ") and err.count("\n") == 1


def test_what_is_no_model_says_what_it_is(inspect, onnx, adapter, tmp_path):
    for folder, words in [
        (onnx / "int8", "a graph that was exported"),
        (adapter, "an adapter"),
        (tmp_path, "config.json is missing"),
        ("no-such-folder", "there is no folder no-such-folder"),
    ]:
        code, out, err = inspect(folder)
        assert (code, out) == (1, "") and words in err and err.startswith("refrain: ") and err.count("\n") == 1


def test_a_repository_of_the_hub_reads_like_its_folder(inspect, base, tmp_path, repository):
    shutil.copytree(base, tmp_path / "hub/owner/tiny")
    with serve(tmp_path / "hub") as hub:
        environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home")}
        command = [sys.executable, "-m", "refrain.cli.main", "inspect", "owner/tiny@main"]
        done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)
        weights = [request.range for request in hub.log if request.path.endswith("model.safetensors")]
    assert (done.returncode, done.stderr) == (0, "")
    here, there = lines(inspect(base)[1]), lines(done.stdout)
    assert {*here} == {*there}
    assert all(here[name] == there[name] for name in ("family", "parameters", "attention", "table", "template"))
    assert here["train"][:2] == there["train"][:2]  # minutes are measured
    assert set(weights) == {"bytes=0-100000"}
