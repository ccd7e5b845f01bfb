"""`refrain inspect`: the facts and needs of a folder or a repository, or why it is none."""

import json
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


def edit(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_folder_says_what_it_is_and_needs(inspect, base):
    code, out, err = inspect(base)
    found = lines(out)
    assert (code, err) == (0, ""), out
    assert found["family"] == ["llama, LlamaForCausalLM"]
    assert found["context"] == ["256 tokens"]
    assert found["attention"] == ["2 layers, 4 heads, 2 of keys and values, 32 wide"]
    assert found["template"] == ["its own, takes a system turn, takes a first assistant turn, asks for no date"]
    assert found["eos"] == ["<|im_end|> by tokenizer_config.json"]
    assert "open to the end: the compact graph is drawn" in out
    assert {"base", "train", "merge", "export_onnx", "evaluate", "serve int8"} <= set(found)
    assert "method=lora" in out


def test_estimates_are_for_the_method_that_is_named(inspect, base):
    assert "method=full" in inspect(base, "method=full")[1]


def test_outside_a_repository_the_facts_remain(inspect, base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = inspect(base)
    assert code == 0 and "256 tokens" in out and "no estimates" in out
    code, out, err = inspect(base, "method=full")
    assert (code, out) == (1, "") and err.startswith("refrain: method=full: there is no conf/ here")


@pytest.mark.parametrize("wrong", ["method=none", "train.nope=1"])
def test_a_wrong_override_is_one_sentence(inspect, base, wrong):
    code, out, err = inspect(base, wrong)
    assert (code, out) == (1, "") and err.startswith("refrain: ") and err.count("\n") == 1


def test_what_is_refused_shows_its_facts_and_every_reason(inspect, base, tmp_path):
    folder = shutil.copytree(base, tmp_path / "model")
    edit(folder / "config.json", vocab_size=99)
    edit(folder / "tokenizer_config.json", chat_template=None)
    code, out, err = inspect(folder)
    assert (code, err) == (1, "") and lines(out)["template"] == ["none of its own"]
    assert "not open:" in out and "estimates" not in out
    assert "vocab_size=99" in out


def test_a_template_that_is_chosen_opens_the_way(inspect, base, tmp_path):
    folder = shutil.copytree(base, tmp_path / "model")
    edit(folder / "tokenizer_config.json", chat_template=None)
    assert "choose one: template=chatml" in inspect(folder)[1]
    code, out, _ = inspect(folder, "template=alpaca")
    assert code == 0 and "of the configuration" in lines(out)["template"][0]


def test_a_family_without_an_exporter_is_refused_by_name(inspect, base, tmp_path):
    folder = shutil.copytree(base, tmp_path / "model")
    edit(folder / "config.json", model_type="mixtral", architectures=["MixtralForCausalLM"])
    code, out, _ = inspect(folder)
    assert code == 1 and "mixtral" in out.partition("not open:")[2]


def test_a_template_that_asks_for_the_date_says_so_in_its_line(inspect, base, tmp_path):
    folder = shutil.copytree(base, tmp_path / "model")
    edit(folder / "tokenizer_config.json", chat_template="{{ strftime_now('%d') }}{{ messages[0].content }}")
    code, out, _ = inspect(folder)
    assert (
        code == 1
        and "asks for the date" in lines(out)["template"][0]
        and "asks for the date" in out.split("not open:")[1]
    )


def test_what_is_no_model_says_what_it_is(inspect, onnx, adapter, tmp_path):
    for folder, words in [
        (onnx / "int8", "it holds a graph, which was exported"),
        (adapter, "an adapter"),
        (tmp_path, "config.json is missing"),
        ("no-such-folder", "there is no folder no-such-folder"),
    ]:
        code, out, err = inspect(folder)
        assert (code, out) == (1, "") and words in err and err.startswith("refrain: ") and err.count("\n") == 1


@pytest.mark.heavy
def test_a_repository_of_the_hub_reads_like_its_folder(inspect, base, tmp_path, repository):
    shutil.copytree(base, tmp_path / "hub/owner/tiny")
    with serve(tmp_path / "hub") as hub:  # in a fresh interpreter, for the client reads its variables when imported
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
