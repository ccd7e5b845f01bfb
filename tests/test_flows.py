"""Whole runs of a real pipeline, made small: a change reruns exactly the stages that it affects, and nothing is lost."""

import csv
import json
import random
import re

import pytest
import workbench
import yaml
from omegaconf import OmegaConf
from workbench import dvc, edit, rewrite, stage

pytestmark = pytest.mark.slow

WORDS = ["amber", "basin", "cedar", "delta", "ember", "frost", "grove", "heron", "inlet", "kelp", "otter", "reed"]
TINY = {"vocabulary": 320, "layers": 1, "width": 32, "heads": 2, "kv_heads": 1, "feed_forward": 64, "epochs": 1}
AFTER = {  # what may rerun when a stage's outputs are new
    "base": {"train", "merge", "export_onnx", "evaluate"},
    "prepare": {"train", "merge", "export_onnx", "evaluate"},
    "train": {"merge", "export_onnx", "evaluate"},
    "merge": {"export_onnx", "evaluate"},
    "export_onnx": {"evaluate"},
    "evaluate": set(),
}
CONF_EDITS = {
    "conf/model/small.yaml": ("tiny.epochs", 2, {"base"}),
    "conf/data/small.yaml": ("val_fraction", 0.2, {"prepare"}),
    "conf/template/own.yaml": ("jinja", "{{ messages }}", {"train"}),
    "conf/method/lora.yaml": ("method.adapter.rank", 16, {"train"}),
    "conf/config.yaml train": ("train.weight_decay", 0.1, {"train"}),
    "conf/config.yaml merge": ("merge.tolerance", 0.01, {"merge"}),
    "conf/export/small.yaml": ("steps", 5, {"export_onnx"}),
    "conf/config.yaml evaluate": ("evaluate.max_rows", 5, {"evaluate"}),
    "conf/config.yaml seed": ("seed", 43, {"base", "prepare", "train"}),
    "conf/method/full.yaml": ("train.lr", 0.1, set()),
}
FILE_EDITS = {
    "refrain/chat.py": {"base", "train", "merge", "export_onnx", "evaluate"},
    "refrain/corpus.py": {"prepare"},
    "refrain/training.py": {"base", "train"},
    "refrain/parity.py": {"merge", "export_onnx"},
    "refrain/runtime.py": {"export_onnx", "evaluate"},
    "refrain/metrics.py": {"evaluate"},
    "refrain/cli.py": set(),
    "refrain/composition.py": set(),
    "stages/merge.py": {"merge"},
    "tests/test_flows.py": set(),
    "pyproject.toml": set(),
}


def small(folder):
    """Make the smallest real configuration the default: every stage does its work in seconds."""
    rng = random.Random(0)
    rows = [(f"Why {' '.join(rng.sample(WORDS, 5))}?", " ".join(rng.sample(WORDS, 3))) for _ in range(40)]
    raw = folder / "data/raw"
    with (raw / "small.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("question", "answer"), *rows[:10]])
    write(raw / "small.jsonl", rows[10:34])
    write(raw / "small-test.jsonl", rows[34:])
    (raw / "small.txt").write_text("".join(f"{question} {answer}\n" for question, answer in rows))
    conf = folder / "conf"
    sources = [{"path": "small.csv"}, {"path": "small.jsonl"}, {"path": "small-test.jsonl", "split": "test"}]
    data = {"name": "small", "folder": "data/raw", "sources": sources, "val_fraction": 0.1, "test_fraction": 0.0}
    preset(conf / "data/small.yaml", "files", data)
    preset(conf / "model/small.yaml", "tiny", {"name": "small", "tiny": {**TINY, "corpus": "data/raw/small.txt"}})
    variants = {"int8": {"block": 32, "min_top1": 0.0}}
    preset(conf / "export/small.yaml", "cpu", {"name": "small", "prompts": 2, "steps": 4, "variants": variants})
    config = OmegaConf.load(conf / "config.yaml")
    chosen = {"data": "small", "model": "small", "export": "small"}
    defaults = [item if item == "_self_" else dict(item) | chosen_of(item, chosen) for item in config.defaults]
    edit(
        conf / "config.yaml",
        {"defaults": defaults, "train.epochs": 1, "merge.prompts": 2, "evaluate.max_rows": 4}
        | {"evaluate.max_new_tokens": 8},
    )


def chosen_of(item, chosen):
    return {group: chosen[group] for group in item if group in chosen}


def preset(file, base, values):
    file.write_text(OmegaConf.to_yaml({"defaults": [base], **values}))


def write(file, rows):
    file.write_text("".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in rows))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The workspace as a repository of its own, small, run once and committed."""
    folder = workbench.repository(tmp_path_factory.mktemp("flows") / "repository")
    small(folder)
    assert ran(dvc(folder, "repro")) == ["compose", *AFTER]
    workbench.commit(folder)
    return folder


@pytest.fixture
def bench(finished):
    """The finished repository, as it was committed."""
    workbench.restore(finished)
    return finished


def ran(output):
    """The stages that ran, in their order, cached ones left out."""
    return re.findall(r"^Running stage '(\w+)'", output, re.M)


def cached(output):
    return re.findall(r"^Stage '(\w+)' is cached", output, re.M)


def changed(folder):
    """The stages that changed by themselves once params.yaml follows conf/; the rest of a run is AFTER them."""
    stage(folder, "compose")
    return json.loads(dvc(folder, "status", "--json")).keys() - {"compose"}


def test_after_is_what_dvc_yaml_says(finished):
    stages = yaml.safe_load((finished / "dvc.yaml").read_text())["stages"]
    made = {out: name for name, each in stages.items() for out in each["outs"] if isinstance(out, str)}
    feeds = {name: set() for name in AFTER}
    for name in reversed(AFTER):
        for dep in stages[name]["deps"]:
            for maker in {maker for out, maker in made.items() if f"{dep}/".startswith(f"{out}/")}:
                feeds[maker] |= {name, *feeds[name]}
    assert feeds == AFTER


def test_nothing_changed_runs_nothing(bench):
    output = dvc(bench, "repro")
    assert output.endswith("Data and pipelines are up to date.\n")
    assert ran(output) == []
    assert workbench.run(bench, "git", "status", "--porcelain") == ""


@pytest.mark.parametrize("place", CONF_EDITS)
def test_an_edit_of_conf_changes_the_stages_that_read_it(bench, place):
    key, value, stages = CONF_EDITS[place]
    edit(bench / place.split()[0], {key: value})
    assert changed(bench) == stages


@pytest.mark.parametrize("place", FILE_EDITS)
def test_an_edit_of_code_changes_the_stages_that_run_it(bench, place):
    with (bench / place).open("a") as file:
        file.write("# an edit\n")
    assert changed(bench) == FILE_EDITS[place]


@pytest.mark.parametrize(
    ("name", "stages"), [("small.csv", {"prepare"}), ("small.txt", {"base"}), ("chats.json", set())]
)
def test_an_edit_of_raw_data_changes_the_stage_that_reads_it(bench, name, stages):
    with (bench / "data/raw" / name).open("a") as file:
        file.write("Why not?,because\n")
    assert json.loads(dvc(bench, "status", "--json")).keys() - {"compose"} == stages
