import dataclasses
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from adapted_models import ASKED, LORA, METHODS, adapted, contents, taught
from places import PLAIN_INSTALL, ROOT
from safetensors.torch import load_file

from refrain.evaluation import divergence
from refrain.models.pytorch import loading
from refrain.models.pytorch.language_model import TorchLanguageModel


def carriers(model):
    """The layers with matrices beside them, by their names in the base."""
    names = [name for name, _ in model.named_parameters() if ".lora_" in name]
    return {name.removeprefix("base_model.model.").split(".lora_")[0] for name in names}


@pytest.mark.parametrize("bits", [None, 4])
def test_lora_stands_beside_every_linear_layer_but_the_head(base, bits):
    model = loading.build_trainable(base, replace(LORA, base_bits=bits), 3)
    linear = {
        name for name, layer in loading.load_pretrained(base).named_modules() if isinstance(layer, torch.nn.Linear)
    }
    assert carriers(model) == linear - {"lm_head"} != set()
    learning = {name.split(".")[-3] for name, weight in model.named_parameters() if weight.requires_grad}
    assert learning == {"lora_A", "lora_B"}


def test_pissa_begins_as_the_base_and_with_its_principal_components(base):
    model, before = loading.build_trainable(base, METHODS["pissa"], 7), loading.load_pretrained(base)
    assert divergence.measure_divergence(TorchLanguageModel(model), TorchLanguageModel(before), ASKED).whole < 1e-4
    layer, weight = model.get_submodule("base_model.model.model.layers.0.mlp.up_proj"), before.model.layers[0].mlp
    taken = torch.linalg.svdvals(layer.get_delta_weight("default"))
    assert torch.allclose(taken[:4], torch.linalg.svdvals(weight.up_proj.weight)[:4], rtol=1e-4)
    assert taken[4] < 1e-4 * taken[0]


def test_pissa_is_saved_for_the_base_as_it_was(base, lessons, tmp_path):
    loading.save_pretrained(
        taught(loading.build_trainable(base, METHODS["pissa"], 7), lessons, tmp_path / "runs"), tmp_path / "out"
    )
    settings = json.loads((tmp_path / "out/adapter_config.json").read_text())
    assert (settings["r"], settings["lora_alpha"], settings["init_lora_weights"]) == (8, 16, True)
    ranks = {weight.shape[0] for name, weight in load_file(tmp_path / "out/adapter_model.safetensors").items()
             if "lora_A" in name}  # fmt: skip
    assert ranks == {8}


def test_dora_learns_the_size_of_each_row_too(base, lessons, tmp_path):
    model = loading.build_trainable(base, METHODS["dora"], 7)
    sizes = {name: weight for name, weight in model.named_parameters() if "lora_magnitude_vector" in name}
    before = {name: weight.clone() for name, weight in sizes.items()}
    row = loading.load_pretrained(base).model.layers[1].self_attn.q_proj.weight.norm(dim=1)
    assert any(weight.shape == row.shape and torch.allclose(weight, row) for weight in before.values())
    taught(model, lessons, tmp_path)
    assert len(sizes) == len(carriers(model)) and not any(torch.equal(sizes[name], before[name]) for name in sizes)


@pytest.mark.parametrize("rslora, scale", [(False, 8 / 4), (True, 8 / 4**0.5)])
def test_matrices_are_scaled_by_alpha_over_the_rank_or_its_root(base, rslora, scale):
    layer = loading.build_trainable(base, adapted(rslora=rslora), 7).get_submodule(
        "base_model.model.model.layers.0.mlp.up_proj"
    )
    assert layer.scaling["default"] == scale


def test_an_adapter_holds_no_weight_of_the_base(base, tmp_path):
    loading.save_pretrained(loading.build_trainable(base, METHODS["table and head"], 7), tmp_path)
    names = load_file(tmp_path / "adapter_model.safetensors").keys()
    assert names and all(".lora_" in name for name in names)


REFUSED = {
    "lm_head": ("tied", {"layers": ["q_proj", "lm_head"]}, "lm_head shares its weights with model.embed_tokens"),
    "table": ("tied", {"layers": ["embed_tokens"]}, "model.embed_tokens shares its weights with lm_head"),
    "wte": ("gpt2", {"layers": ["wte"]}, "transformer.wte shares its weights with lm_head"),
    "typo": ("base", {"layers": ["q_proj", "k_prj"]}, "layers: k_prj is the end of no layer's name; there is k_proj$"),
    "part": ("base", {"layers": ["proj"]}, "layers: proj is the end of no layer's name; there is .*_proj"),
    "block": ("base", {"layers": ["mlp"]}, "layers: mlp is the end of no layer's name"),
    "norm": ("base", {"layers": ["input_layernorm"]}, "layers: input_layernorm is the end of no layer's name"),
    "none": ("base", {"layers": ["x"]}, "there is down_proj, embed_tokens, gate_proj, k_proj, lm_head"),
    "empty": ("base", {"layers": [""]}, "is the end of no layer's name"),
    "pissa": (
        "base",
        {"layers": ["embed_tokens"], "init": "pissa"},
        "pissa is for linear layers and model.embed_tokens",
    ),
    "rank": (
        "base",
        {"rank": 65, "init": "pissa"},
        "rank=65 is more than the 64 principal components of model.layers.0",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_adapter_that_cannot_be_is_refused_before_weights_load(case, request, tmp_path):
    family, changes, sentence = REFUSED[case]
    shutil.copyfile(request.getfixturevalue(family) / "config.json", tmp_path / "config.json")  # and no weights
    with pytest.raises(ValueError, match=rf"^method\.adapter\..*{sentence}") as refusal:
        loading.build_trainable(tmp_path, adapted(**changes), 3)
    assert "\n" not in str(refusal.value)


@pytest.fixture(scope="module")
def earlier(base, lessons, tmp_path_factory):
    """What a first round of training left, and the model that it was."""
    folder = tmp_path_factory.mktemp("earlier")
    model = taught(loading.build_trainable(base, LORA, 7), lessons, tmp_path_factory.mktemp("runs"))
    loading.save_pretrained(model, folder)
    return folder, model


@pytest.mark.heavy
@pytest.mark.parametrize("bits", [None, 4])
def test_a_second_round_begins_with_the_first_and_learns_on(base, lessons, earlier, tmp_path, bits):
    folder, first = earlier
    method = replace(adapted(dropout=0.5), base_bits=bits)
    loading.save_pretrained(loading.build_trainable(base, method, 7, folder), tmp_path / "begun")
    first_weights, begun = (load_file(place / "adapter_model.safetensors") for place in (folder, tmp_path / "begun"))
    assert first_weights.keys() == begun.keys() and all(torch.equal(first_weights[name], begun[name]) for name in begun)
    if bits is None:
        assert (
            divergence.measure_divergence(
                TorchLanguageModel(loading.build_trainable(base, method, 7, folder)), TorchLanguageModel(first), ASKED
            ).whole
            == 0
        )
    loading.save_pretrained(
        taught(loading.build_trainable(base, method, 7, folder), lessons, tmp_path / "runs"), tmp_path / "whole"
    )
    again = loading.build_trainable(base, method, 7, folder)
    taught(again, lessons, tmp_path / "again", resume=tmp_path / "runs/checkpoint-3")
    loading.save_pretrained(again, tmp_path / "resumed")
    assert contents(tmp_path / "resumed") == contents(tmp_path / "whole")
    learned = load_file(tmp_path / "whole/adapter_model.safetensors")
    assert not any(torch.equal(learned[name], begun[name]) for name in begun)
    assert json.loads((tmp_path / "whole/adapter_config.json").read_text())["lora_dropout"] == 0.5


def test_a_second_round_after_pissa_wants_twice_the_rank(base, lessons, tmp_path):
    model = taught(loading.build_trainable(base, METHODS["pissa"], 7), lessons, tmp_path / "runs")
    loading.save_pretrained(model, tmp_path / "out")
    with pytest.raises(ValueError, match=r"has rank=8, and method.adapter.rank is 4; set method.adapter.rank=8$"):
        loading.build_trainable(base, LORA, 7, tmp_path / "out")
    second = loading.build_trainable(base, adapted(rank=8, alpha=16), 7, tmp_path / "out")
    divergence.require_equal(
        divergence.measure_divergence(TorchLanguageModel(model), TorchLanguageModel(second), ASKED), 0.0, 1e-4
    )


OTHERS = {
    "rank": ({"rank": 2}, "its adapter has rank=4, and method.adapter.rank is 2; set method.adapter.rank=4"),
    "alpha": ({"alpha": 4}, "its adapter has alpha=8, and method.adapter.alpha is 4; set method.adapter.alpha=8"),
    "dora": (
        {"dora": True},
        "its adapter has dora=false, and method.adapter.dora is true; set method.adapter.dora=false",
    ),
    "rslora": (
        {"rslora": True},
        "has rslora=false, and method.adapter.rslora is true; set method.adapter.rslora=false",
    ),
    "layers": (
        {"layers": ["k_proj", "q_proj"]},
        "its adapter has layers=[down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj], and "
        "method.adapter.layers is [k_proj, q_proj]; set method.adapter.layers=[down_proj, gate_proj, ",
    ),
    "some": ({"layers": ["0.mlp.up_proj", *"qkvo"]}, "method.adapter.layers: q is the end of no layer's name"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_second_round_with_another_adapter_is_refused_before_weights_load(case, base, earlier, tmp_path):
    changes, sentence = OTHERS[case]
    shutil.copyfile(base / "config.json", tmp_path / "config.json")
    with pytest.raises(ValueError) as refusal:
        loading.build_trainable(tmp_path, adapted(**changes), 7, earlier[0])
    assert sentence in str(refusal.value)


def test_a_second_round_on_a_base_of_another_shape_is_refused(base, earlier, tmp_path):
    settings = json.loads((base / "config.json").read_text())
    for changes in ({"intermediate_size": 96}, {"num_hidden_layers": 3, "layer_types": None}):
        (tmp_path / "config.json").write_text(json.dumps(settings | changes))
        with pytest.raises(
            ValueError, match=r"^method\.init_adapter: its adapter is for a base of another depth or width"
        ):
            loading.build_trainable(tmp_path, LORA, 7, earlier[0])


def test_a_second_round_wants_an_adapter(base, tmp_path):
    with pytest.raises(ValueError, match=r"^method\.init_adapter: no adapter was trained at that revision"):
        loading.build_trainable(base, LORA, 7, tmp_path)


@pytest.mark.heavy
def test_an_adapter_is_the_same_bytes_whatever_the_order_of_a_set(base, tmp_path):
    code = (
        "import json, sys; from pathlib import Path; from omegaconf import OmegaConf;"
        "from refrain.models.pytorch import loading; from refrain.pipeline.schema import MethodConfig;"
        "base, out = map(Path, sys.argv[1:3]); method = OmegaConf.merge(MethodConfig, json.loads(sys.argv[3]));"
        "loading.save_pretrained(loading.build_trainable(base, OmegaConf.to_object(method), 3), out)"
    )
    method = json.dumps(dataclasses.asdict(LORA))
    folders = [tmp_path / seed for seed in "12"]
    for folder in folders:
        settings = os.environ | {"PYTHONPATH": str(PLAIN_INSTALL), "PYTHONHASHSEED": folder.name}
        subprocess.run([sys.executable, "-c", code, base, folder, method], cwd=ROOT, env=settings, check=True)
    first, other = ({file.name: file.read_bytes() for file in folder.iterdir()} for folder in folders)
    assert set(first) == {"adapter_config.json", "adapter_model.safetensors"}
    assert other == first
    targets = json.loads(first["adapter_config.json"])["target_modules"]
    assert targets == sorted(targets) and len(targets) > 1
