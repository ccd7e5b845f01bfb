"""A LoRA layer as one operation is PEFT's, forward and backward; what is no plain one is left alone."""

import copy

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from transformers.pytorch_utils import Conv1D

from refrain.training.cpu import onednn
from refrain.training.cpu.lora_products import LoraProduct, fused_adapters, is_folding_cheaper, is_summing_cheaper

LAYERS = {
    "linear": lambda: nn.Linear(7, 5),
    "without bias": lambda: nn.Linear(7, 5, bias=False),
    "wide": lambda: nn.Linear(3, 70),
    "transposed": lambda: Conv1D(5, 7),
}
EXACT = {"rtol": 1e-5, "atol": 1e-5}


def adapted(layer, **settings):
    """A model of that layer alone, with an adapter that has learned something."""
    torch.manual_seed(3)
    model = nn.ModuleDict({"layer": layer()})
    settings = {"r": 3, "lora_alpha": 5, "target_modules": ["layer"]} | settings
    model = inject_adapter_in_model(LoraConfig(**settings), model)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight)
    return model


def run(model, inputs):
    """What comes out, and all gradients."""
    model.zero_grad()
    inputs.grad = None
    out = model["layer"](inputs)
    (out.float() * torch.linspace(-1, 2, out.shape[-1])).square().sum().backward()
    return [out.detach(), inputs.grad, *(weight.grad for weight in model.parameters())]


@pytest.mark.parametrize("has_onednn", [True, False])
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("shape", [(3,), (2, 33), (1, 1), (1, 0)])  # folded: 66 rows, and with rank 1 not summed
@pytest.mark.parametrize("settings", [{}, {"r": 1, "use_rslora": True}], ids=["lora", "rslora"])
def test_results_and_gradients_are_those_of_peft(has_onednn, name, shape, settings, monkeypatch):
    monkeypatch.setattr(onednn, "is_faster", lambda: has_onednn)
    model = adapted(LAYERS[name], **settings)
    inputs = torch.randn(*shape, 3 if name == "wide" else 7, requires_grad=True)
    expected = run(model, inputs)
    with fused_adapters(model, torch.float32, keeps_copies=True):
        for one, other in zip(expected, run(model, inputs), strict=True):
            torch.testing.assert_close(other, one, **EXACT)


@pytest.mark.parametrize("keeps_copies", [True, False])
def test_in_bf16_it_is_what_autocast_makes_of_it_within_rounding(keeps_copies):
    model, inputs = adapted(LAYERS["linear"]), torch.randn(4, 7, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        expected = run(model, inputs)
        with fused_adapters(model, torch.bfloat16, keeps_copies):
            found = run(model, inputs)
    for one, other in zip(expected, found, strict=True):
        if one is not None:
            torch.testing.assert_close(other, one, rtol=0, atol=0.05 * one.abs().max().item())


def test_an_adapter_is_folded_into_the_weight_for_three_times_as_many_rows_as_columns_and_in_fp32_alone():
    weight = torch.ones(9, 6)
    assert [is_folding_cheaper(torch.ones(rows, 6), weight) for rows in (18, 19)] == [False, True]
    assert not is_folding_cheaper(torch.ones(19, 6), weight.bfloat16())


def test_a_gradient_of_the_whole_weight_is_made_where_its_products_are_fewer():
    """2 x 66 x 35 numbers and twice those of both matrices, or four products of the adapter with its rows."""
    rows, weight = torch.ones(66, 7), torch.ones(5, 7)
    assert [is_summing_cheaper(rows, weight, rank) for rank in (1, 2)] == [False, True]


@pytest.mark.parametrize(("rank", "is_kept"), [(1, False), (3, True)])
def test_a_folded_weight_is_kept_only_where_it_is_smaller_than_two_adapters(rank, is_kept):
    model = adapted(LAYERS["linear"], r=rank)
    layer = model["layer"]
    with fused_adapters(model, torch.float32, keeps_copies=True):
        kept = model["layer"](torch.randn(66, 7)).grad_fn.saved_tensors[2]
    assert (kept.data_ptr() != layer.base_layer.weight.data_ptr()) == is_kept
    adapter = layer.lora_A["default"].weight.numel() + layer.lora_B["default"].weight.numel()
    assert (kept.numel() < 2 * adapter) == is_kept


@pytest.mark.parametrize("rows", [2, 66])
def test_what_a_layer_computes_with_is_its_weight_of_the_time(rows):
    """Folded or not, a step of the optimiser is in the next product, and the base stays as it was."""
    model, inputs = adapted(LAYERS["linear"]), torch.randn(rows, 7, requires_grad=True)
    layer = model["layer"]
    base = layer.base_layer.weight.clone()
    with fused_adapters(model, torch.float32, keeps_copies=True):
        before = run(model, inputs)
        with torch.no_grad():
            layer.lora_B["default"].weight.mul_(-2)
        found = run(model, inputs)
    for one, other in zip(run(model, inputs), found, strict=True):
        torch.testing.assert_close(other, one, **EXACT)
    assert not torch.allclose(found[0], before[0]) and torch.equal(layer.base_layer.weight, base)


def test_an_input_without_gradient_gets_none():
    model, inputs = adapted(LAYERS["linear"]), torch.randn(4, 7)
    expected = run(model, inputs)
    with fused_adapters(model, torch.float32, keeps_copies=True):
        found = run(model, inputs)
    assert found[1] is None
    torch.testing.assert_close([part for part in found if part is not None],
                               [part for part in expected if part is not None], **EXACT)  # fmt: skip


@pytest.mark.parametrize("settings", [{"lora_dropout": 0.5}, {"use_dora": True}, {"lora_bias": True}])
def test_what_is_no_plain_adapter_is_left_alone(settings):
    model = adapted(LAYERS["linear"], **settings)
    with fused_adapters(model, torch.float32, keeps_copies=True):
        assert not is_fused(model)


def test_layers_are_fused_only_inside_and_not_where_the_base_learns():
    model = adapted(LAYERS["linear"])
    learning = copy.deepcopy(model)
    learning["layer"].base_layer.weight.requires_grad_(True)
    for each, is_plain in ((model, True), (learning, False)):
        with fused_adapters(each, torch.float32, keeps_copies=True):
            assert is_fused(each) == is_plain
        assert not is_fused(each)


def is_fused(model):
    return type(model["layer"](torch.ones(2, 7)).grad_fn).__name__ == f"{LoraProduct.__name__}Backward"
