"""The numbers in git are those of the code in git, and they reach what the embedded data was made for."""

import hashlib
import json

import pytest
from omegaconf import OmegaConf
from places import ROOT

LOCK = OmegaConf.to_container(OmegaConf.load(ROOT / "dvc.lock"))["stages"]  # PyYAML reads 1e-06 as text
METRICS = json.loads((ROOT / "reports/metrics.json").read_text())
TUNED = ["merged", "onnx-fp32", "onnx-int4", "onnx-int8"]


def value_of(name):
    """What params.yaml has, under a name with dots."""
    value = OmegaConf.to_container(OmegaConf.load(ROOT / "params.yaml"))
    for key in name.split("."):
        value = value[key]
    return value


@pytest.mark.parametrize("stage", LOCK)
def test_the_last_run_was_made_by_this_code_with_these_settings(stage):
    code = [dep for dep in LOCK[stage].get("deps", []) if dep["path"].startswith(("refrain/", "stages/"))]
    assert code or stage == "compose"
    stale = [dep["path"] for dep in code if dep["md5"] != dvc_md5(ROOT / dep["path"])]
    assert not stale, f"dvc.lock is older than {', '.join(stale)}: run `dvc repro` and commit what it changes"
    recorded = LOCK[stage].get("params", {}).get("params.yaml", {})
    assert recorded == {name: value_of(name) for name in recorded}


def test_the_metrics_are_those_that_the_last_run_wrote():
    written = {out["path"]: out["md5"] for out in LOCK["evaluate"]["outs"]}
    for path in ("reports/metrics.json", "reports/summary.json", "reports/scores.csv"):
        assert md5(ROOT / path) == written[path]


def test_the_pictures_in_the_docs_show_the_last_run():
    """Drawn anew by `python -m refrain.experiments.pictures docs/images`."""
    scores, loss = ((ROOT / f"docs/images/{name}.svg").read_text() for name in ("scores", "loss"))
    assert not [name for name, result in METRICS.items() if f">{result['rougeL']:.3f} (" not in scores]
    assert f"validation loss {json.loads((ROOT / 'reports/summary.json').read_text())['val_loss']:.3f}<" in loss


def test_five_models_are_measured_on_all_held_out_questions():
    assert list(METRICS) == ["base", *TUNED]
    assert {result["rows"] for result in METRICS.values()} == {170}


@pytest.mark.parametrize("name", TUNED)
def test_the_fine_tuned_model_answers_unseen_wordings(name):
    assert METRICS[name]["rougeL"] >= 0.75
    assert METRICS[name]["exact_match"] >= 0.5


def test_the_untuned_base_does_not():
    assert METRICS["base"]["rougeL"] < 0.35


def dvc_md5(path):
    """The md5 by which dvc.lock names a file or a folder of code, without what .dvcignore leaves out."""
    if path.is_file():
        return md5(path)
    files = {file.relative_to(path).as_posix(): file for file in path.rglob("*.py")}
    listing = [{"md5": md5(files[name]), "relpath": name} for name in sorted(files)]
    return hashlib.md5(json.dumps(listing).encode()).hexdigest() + ".dir"


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()
