import ast

import pytest
from light_stages import modules, run
from pipeline_repository import ROOT

from refrain.pipeline import recovery

STAGES = ["compose", "base", "prepare", "train", "merge", "export_onnx", "export_gguf", "evaluate"]


@pytest.mark.heavy
@pytest.mark.parametrize("name", STAGES)
def test_every_stage_checks_before_it_loads_anything(bench, name):
    said, loaded = modules(bench, name, "train.epoch=3")
    sentence = f"{name}: train.epoch is no key of the configuration; did you mean train.epochs?"
    assert said.splitlines() == [sentence, recovery.UNTOUCHED]
    for_all = {"hydra", "omegaconf", "yaml"} if name == "compose" else set()
    assert not {"hydra", "omegaconf", "yaml", "jinja2", "tokenizers", "numpy", "msgspec"} & loaded - for_all


@pytest.mark.parametrize("override", ["train.lrr=3", "train.lr=fast"])
def test_a_wrong_name_or_word_waits_for_nothing_that_values_need(bench, override):
    said, loaded = modules(bench, "train", override)
    assert said.startswith(f"train: {override.partition('=')[0]}") and "refrain.pipeline.config_keys" in loaded
    assert not {"hydra", "omegaconf", "yaml", "argparse", "json", "shutil", "subprocess", "logging"} & loaded


def test_the_torch_of_this_bench_gives_heavy_imports_away(bench):
    assert run(bench, "train", "train.epochs=3")[0].startswith("something heavy was loaded\n")


@pytest.mark.heavy
@pytest.mark.parametrize("name", STAGES)
def test_help_says_what_a_stage_is_for_before_anything_of_it_is_loaded(bench, name):
    said, loaded = modules(bench, name, "--help", fails=False)
    purpose = ast.get_docstring(ast.parse((ROOT / f"stages/{name}.py").read_text()))
    assert said.startswith(f"usage: python -m stages.{name} ")
    assert purpose in said and "--quiet" in said and "key=value" in said
    assert "refrain.pipeline.stage_options" in loaded
    assert not {"refrain.pipeline.runner", "refrain.pipeline.schema", "yaml", "hydra"} & loaded
