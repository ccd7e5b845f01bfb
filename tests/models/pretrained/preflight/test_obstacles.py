"""What keeps a model from going all the way is one sentence, and it names file and field."""

import json
import shutil

import pytest
from safetensors.numpy import load_file, save_file

from refrain.models.pretrained.preflight.obstacles import find_obstacles


@pytest.fixture
def folder(base, tmp_path):
    return shutil.copytree(base, tmp_path / "model")


def edit(folder, name="config.json", drop=(), **values):
    path = folder / name
    kept = {key: value for key, value in json.loads(path.read_text()).items() if key not in drop}
    path.write_text(json.dumps(kept | values))


def rewrite(folder, change):
    """The tensors by name, changed."""
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, {"format": "pt"})


def test_the_way_is_open_for_a_model_as_it_is_saved(base):
    assert find_obstacles(base) == []


CONFIGS = {
    "quantised": ({"quantization_config": {"quant_method": "gptq"}}, ["quantization_config", "method=qlora"]),
    "float8": ({"torch_dtype": "float8_e4m3fn"}, ["torch_dtype=float8_e4m3fn"]),
    "heads": ({"num_key_value_heads": 3}, ["num_attention_heads=4", "num_key_value_heads=3"]),
    "table": ({"vocab_size": 328}, ["vocab_size=328", "model.safetensors has", "write vocab_size="]),
    "layers": ({"num_hidden_layers": 1}, ["num_hidden_layers=1", "model.layers.1."]),
    "family": ({"model_type": "no_such"}, ["model_type=no_such"]),
    "encoder": ({"model_type": "vit"}, ["model_type=vit", "no causal language model"]),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_field_that_closes_the_way_is_named(folder, kind):
    values, words = CONFIGS[kind]
    edit(folder, **values)
    (sentence,) = find_obstacles(folder)
    assert [word for word in ["config.json", "; ", *words] if word not in sentence] == [], sentence


WEIGHTS = {
    "missing": (lambda all: {n: t for n, t in all.items() if n != "lm_head.weight"}, ["lm_head.weight", "missing"]),
    "prefix": (lambda all: {f"module.{n}": t for n, t in all.items()}, ["module.lm_head.weight", "'module.'"]),
    "shape": (lambda all: all | {"model.norm.weight": all["model.norm.weight"][:5]}, ["model.norm.weight", "[5]"]),
    "left over": (lambda all: all | {"score.weight": all["lm_head.weight"] + 1}, ["score.weight", "no place"]),
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_a_tensor_that_is_not_what_config_json_promises_is_named(folder, kind):
    change, words = WEIGHTS[kind]
    rewrite(folder, change)
    (sentence,) = find_obstacles(folder)
    assert [word for word in ["model.safetensors", "; ", *words] if word not in sentence] == [], sentence
