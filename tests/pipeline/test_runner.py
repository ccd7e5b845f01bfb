import ast

import pytest
from light_stages import run
from pipeline_repository import ROOT

from refrain.pipeline import recovery

STAGES = ["compose", "base", "prepare", "train", "merge", "export_onnx", "export_gguf", "evaluate"]


@pytest.mark.heavy
@pytest.mark.parametrize("name", STAGES)
def test_every_stage_checks_before_it_loads_anything(bench, name):
    said, seconds = run(bench, name, "train.epoch=3")
    sentence = f"{name}: train.epoch is no key of the configuration; did you mean train.epochs?"
    assert said.splitlines() == [sentence, recovery.UNTOUCHED]
    assert seconds < 3


def test_the_torch_of_this_bench_gives_heavy_imports_away(bench):
    assert run(bench, "train", "train.epochs=3")[0].startswith("something heavy was loaded\n")


@pytest.mark.heavy
@pytest.mark.parametrize("name", STAGES)
def test_help_says_at_once_what_a_stage_is_for(bench, name):
    said, seconds = run(bench, name, "--help", fails=False)
    purpose = ast.get_docstring(ast.parse((ROOT / f"stages/{name}.py").read_text()))
    assert said.startswith(f"usage: python -m stages.{name} ")
    assert purpose in said
    assert seconds < 3
