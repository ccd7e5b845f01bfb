"""Where a model is from: by its manifest anywhere, by its commit in a repository."""

import json
import subprocess

import pytest
import yaml

from refrain.pipeline import manifest
from refrain.serving.lineage.model_lineage import collect_facts

FACTS = {
    "base": {"hub": "owner/base", "revision": "abc"},
    "data": {"train.jsonl": "0" * 64},
    "made_of": {"models/merged": "m" * 32 + ".dir", "data/prepared": "d" * 32 + ".dir"},
    "cpu": "AVX2",
    "best": "int8",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    variant = tmp_path / "models" / "onnx" / "int8"
    variant.mkdir(parents=True)
    manifest.write_manifest(variant.parent, FACTS)
    return variant


def git(*arguments):
    name = ["-c", "user.name=x", "-c", "user.email=x@y.z"]
    return subprocess.run(["git", *name, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def test_outside_of_a_repository_the_manifest_tells(folder):
    facts = collect_facts(folder, None)
    assert facts["base"] == "owner/base@abc of the Hub" and facts["cpu"] == "AVX2"
    assert facts["data_sha256"] == FACTS["data"] and facts["method"] is facts["committed"] is facts["data"] is None
    assert collect_facts(folder.parent.parent, None)["base"] is None  # no manifest at all


def test_a_commit_tells_how_it_was_trained(folder, tmp_path):
    params = {"method": {"name": "lora"}, "seed": 7}
    lock = {"stages": {"train": {"params": {"params.yaml": params}}}, "merged": FACTS["made_of"]["models/merged"]}
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump(lock))
    assert collect_facts(folder, None)["method"] == "lora"  # what the workspace holds, committed or not
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/data.json").write_text(json.dumps({"sources": {"0-a.jsonl": {}}, "train": 1200}))
    lock["prepared"] = FACTS["made_of"]["data/prepared"]
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump(lock))
    git("init", "-q")
    git("add", "-f", "dvc.lock", "reports")
    git("commit", "-q", "-m", "first")
    commit = git("rev-parse", "HEAD")
    (tmp_path / "dvc.lock").write_text("stages: {}\n")  # another experiment is checked out
    facts = collect_facts(folder, commit)
    assert (facts["method"], facts["seed_of_training"], facts["data"]) == ("lora", 7, "a.jsonl (1,200 rows)")
    assert facts["committed"].startswith("20")


@pytest.mark.parametrize("text", ["{", "- x", "stages: 1", "stages: {train: {params: {params.yaml: {method: x}}}}"])
def test_a_record_that_tells_nothing_is_no_fault(folder, tmp_path, text):
    (tmp_path / "dvc.lock").write_text(f"# {FACTS['made_of']['models/merged']}\n{text}\n")
    assert collect_facts(folder, None)["method"] is None
