"""What is wrong with a merge is found in its weights, however little the adapter has learned, and named."""

import json
import math
import shutil

import pytest
import torch
from adapted_models import LORA, METHODS
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from refrain.models.pytorch import loading, merge_faults

DOWN, QUERY = "model.layers.1.mlp.down_proj.weight", "model.layers.1.self_attn.q_proj.weight"

FIRST = "model.layers.0.self_attn.q_proj.weight, the first of 14 matrices, is not base + adapter: "
WRONG_NORM = "model.norm.weight is not base + adapter: it differs from the base's by 0.001 of its length"
BF16 = "model.embed_tokens.weight, the first of 16 matrices, is not base + adapter: it is rounded to bf16"


def taught_a_little(folder, method, size=1e-3):
    """A model with an adapter that differs from zero by little."""
    model = loading.build_trainable(folder, method, 3)
    for name, weight in model.named_parameters():
        if "lora_B" in name or "embedding_B" in name:
            torch.nn.init.normal_(weight, std=size)
    return model


def merge_of(base, method, out, size=1e-3):
    """The adapter beside the base as it was saved, and the folder of its merge."""
    loading.save_pretrained(taught_a_little(base, method, size), out / "adapter")
    merged = loading.merge_adapter(loading.load_finetuned(base, out / "adapter"))
    loading.save_for_serving(merged, frozenset({2}), out / "merged")
    return loading.load_finetuned(base, out / "adapter"), out / "merged"


@pytest.fixture(scope="module")
def healthy(base, tmp_path_factory):
    return merge_of(base, LORA, tmp_path_factory.mktemp("healthy"))


@pytest.fixture
def right(healthy, tmp_path):
    """The adapter, its merge in a folder that may be changed, and the adapter's share of each matrix."""
    adapted, folder = healthy
    deltas = {
        f"{name}.weight": layer.get_delta_weight("default").detach()
        for name, layer in merge_faults.lora_layers(adapted)
    }
    return adapted, shutil.copytree(folder, tmp_path / "merged"), deltas


def found(adapted, folder):
    return merge_faults.find_faults(adapted, loading.load_pretrained(folder), folder)


def edit(folder, change):
    weights = load_file(folder / "model.safetensors")
    save_file(change(weights) or weights, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    "name, family",
    [(name, "base") for name in METHODS if METHODS[name].base_bits is None]
    + [(name, "gpt2") for name in ("full", "lora", "dora", "rslora", "pissa", "all of it")],
)
@pytest.mark.parametrize("size", [1e-6, 1e-1])
def test_a_right_merge_has_no_fault_whatever_the_adapter_is_and_has_learned(name, family, size, request, tmp_path):
    assert found(*merge_of(request.getfixturevalue(family), METHODS[name], tmp_path, size)) == []


def fold_adapter(times, names=None):
    """The adapter in some matrices so many times."""

    def change(weights, deltas):
        for name in names or deltas:
            weights[name] += (times - 1) * deltas[name]

    return change


def one_row(weights, deltas):
    weights[DOWN][5] -= deltas[DOWN][5]


def one_head(weights, deltas):
    weights[QUERY][32:64] -= deltas[QUERY][32:64]


def in_bf16(weights, deltas):
    for name in weights:
        weights[name] = weights[name].bfloat16().float()


def norm_of_another(weights, deltas):
    weights["model.norm.weight"] *= 1.001


WRONG = {
    "twice": (fold_adapter(2), FIRST + "it holds the adapter 2 times"),
    "alpha": (fold_adapter(1.01), FIRST + "it holds the adapter 1.01 times"),
    "not at all": (fold_adapter(0), FIRST + "it is the base's alone"),
    "one matrix": (fold_adapter(0, [DOWN]), f"{DOWN} is not base + adapter: it is the base's alone"),
    "one row": (one_row, f"{DOWN} is not base + adapter: 1 of its 64 rows are wrong, by 0."),
    "one head": (one_head, f"{QUERY} is not base + adapter: 32 of its 128 rows are wrong, by 0."),
    "bf16": (in_bf16, BF16),
    "norm": (norm_of_another, WRONG_NORM),
}  # fmt: skip


@pytest.mark.parametrize(("change", "sentence"), WRONG.values(), ids=WRONG)
def test_a_merge_that_is_wrong_by_less_than_logits_show_is_named_by_its_first_matrix(change, sentence, right):
    adapted, folder, deltas = right
    edit(folder, lambda weights: change(weights, deltas))
    (fault,) = found(adapted, folder)
    assert fault.startswith(sentence)


@pytest.mark.parametrize("owner, part", [("the adapter", "lora_B"), ("the base", "up_proj.base_layer")])
def test_what_is_no_number_is_found_where_it_is(owner, part, base, healthy):
    adapted = taught_a_little(base, LORA)
    name, weight = next(item for item in adapted.named_parameters() if part in item[0])
    weight.data[0, 0] = math.nan
    (fault,) = found(adapted, healthy[1])
    assert fault.startswith(f"{owner} holds nan or infinity, first in {name.removeprefix('base_model.model.')}; ")


def test_settings_that_are_not_the_base_s_are_named(right):
    adapted, folder, _ = right
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"rope_theta": 20000.0, "rms_norm_eps": 1e-5}))
    assert found(adapted, folder) == [
        "its config.json has rms_norm_eps=1e-05, the base's 1e-06",
        "its config.json has rope_theta=20000.0, the base's 10000.0",
    ]


def test_a_weight_that_is_in_no_file_is_named_and_so_is_another_precision(right):
    adapted, folder, _ = right
    edit(folder, lambda weights: {name: weight for name, weight in weights.items() if name != DOWN})
    assert found(adapted, folder) == [f"merged has no {DOWN}"]
    edit(folder, lambda weights: {name: weight.half() for name, weight in weights.items()})
    assert found(adapted, folder)[1] == "lm_head.weight is stored as F16, not as F32"


def test_an_adapter_on_a_tied_head_is_named(tied, tmp_path):
    adapter = get_peft_model(loading.load_pretrained(tied), LoraConfig(r=2, target_modules=["lm_head"]))
    torch.nn.init.normal_(adapter.base_model.model.lm_head.lora_B["default"].weight)
    loading.save_pretrained(adapter, tmp_path / "adapter")
    loading.save_for_serving(
        loading.merge_adapter(loading.load_finetuned(tied, tmp_path / "adapter")), frozenset({2}), tmp_path / "merged"
    )
    assert found(loading.load_finetuned(tied, tmp_path / "adapter"), tmp_path / "merged") == [
        "the adapter on lm_head cannot be folded in, for model.embed_tokens has the same weights; "
        "leave it out of method.adapter.layers"
    ]


def test_a_full_fine_tune_is_its_own_merge_and_any_other_weight_is_named(base, right):
    _, folder, _ = right
    full = loading.load_pretrained(base)
    (fault,) = found(full, folder)
    assert fault.startswith(FIRST)
    assert found(loading.load_pretrained(folder), folder) == []
