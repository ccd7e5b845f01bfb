"""Products through oneDNN are the products of PyTorch, forward and backward, for as long as they are asked for."""

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from refrain.training.cpu import onednn
from refrain.training.cpu.onednn import OnednnLinear, onednn_products


@pytest.fixture
def faster(monkeypatch):
    """A processor on which oneDNN is ahead, whichever this is."""
    monkeypatch.setattr(onednn, "is_faster", lambda: True)


LAYERS = {
    "linear": lambda: nn.Linear(7, 5),
    "without bias": lambda: nn.Linear(7, 5, bias=False),
    "one column": lambda: nn.Linear(7, 1),
    "transposed": lambda: Conv1D(5, 7),
}


@pytest.mark.usefixtures("faster")
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("shape", [(3, 7), (2, 3, 7), (1, 1, 7), (1, 0, 7), (7,)])
@pytest.mark.parametrize("is_frozen", [False, True])
@pytest.mark.parametrize("part", [3, onednn.PART])
def test_products_and_gradients_are_those_of_pytorch(name, shape, is_frozen, part, monkeypatch):
    monkeypatch.setattr(onednn, "PART", part)
    torch.manual_seed(3)
    layer = LAYERS[name]()
    layer.weight.requires_grad_(not is_frozen)
    inputs = torch.randn(shape)
    if name != "transposed":
        inputs = inputs.transpose(0, -1).contiguous().transpose(0, -1)  # strides that Conv1D refuses
    inputs.requires_grad_()
    expected = run(layer, inputs)
    with onednn_products(layer):
        found = run(layer, inputs)
    assert (found[2] is None) == is_frozen
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def run(layer, inputs):
    layer.zero_grad()
    inputs.grad = None
    out = layer(inputs)
    (out * torch.linspace(-1, 2, out.shape[-1])).square().sum().backward()
    return [out.detach(), inputs.grad, layer.weight.grad, None if layer.bias is None else layer.bias.grad]


def test_onednn_is_given_no_second_operand_whose_rows_lie_apart():
    """By PyTorch's profiler: only those are copied before, for strides of another kind cost nothing."""
    many, apart = torch.randn(12, 8), torch.randn(4, 3, 8)[:, -1]
    by_column = many.t().contiguous().t()
    for operands, is_copied in (((many, apart), True), ((apart, many), False), ((apart, by_column), False)):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            found = onednn.linear(*operands)
        torch.testing.assert_close(found, operands[0] @ operands[1].t(), rtol=1e-5, atol=1e-5)
        names = [event.name for event in profile.events()]
        assert ("aten::clone" in names[: names.index("mkldnn::_linear_pointwise")]) == is_copied


@pytest.mark.parametrize("has_onednn", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_product_is_added_in_place(has_onednn, dtype, monkeypatch):
    monkeypatch.setattr(onednn, "is_faster", lambda: has_onednn)
    total, rows, weight = (torch.arange(count).view(-1, 3).to(dtype) for count in (12, 12, 9))
    expected = total + rows @ weight.t()
    assert onednn.add_product(total, rows, weight) is total and torch.equal(total, expected)


@pytest.mark.parametrize(
    ("capability", "has_mkl", "is_enabled", "expected"),
    [
        ("AVX512", True, True, True),
        ("AVX2", True, True, False),
        ("DEFAULT", False, True, True),
        ("AVX512", True, False, False),
    ],
)
def test_the_processor_decides_and_only_with_onednn_are_rows_filled_up(
    capability, has_mkl, is_enabled, expected, monkeypatch
):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: has_mkl)
    layer = nn.Linear(4, 4)
    with torch.backends.mkldnn.flags(enabled=is_enabled), onednn_products(layer):
        assert uses_onednn(layer) and onednn.is_faster() == expected
        filled = [len(onednn.fill_up(torch.ones(rows, 4))) for rows in (3, 6, 65)]
        assert filled == ([4, 8, 128] if expected else [3, 8, 65])


@pytest.mark.parametrize("rows", [*range(1, 18), 33, 100])
@pytest.mark.parametrize("make", [lambda: nn.Linear(64, 96), lambda: Conv1D(16, 576)], ids=["linear", "transposed"])
def test_few_rows_are_rounded_alike_by_one_thread_and_by_several(make, rows):
    torch.manual_seed(rows)
    layer, before = make(), torch.get_num_threads()
    inputs, found = torch.randn(rows, layer.weight.shape[isinstance(layer, nn.Linear)], requires_grad=True), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            with onednn_products(layer):
                found.append(run(layer, inputs))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(*pair) for other in found[1:] for pair in zip(found[0], other, strict=True))


@pytest.mark.usefixtures("faster")
def test_layers_of_other_kinds_and_later_calls_are_left_alone():
    class Other(nn.Linear):
        pass

    layer, other = nn.Linear(4, 4), Other(4, 4)
    with onednn_products(nn.Sequential(layer, other)):
        assert uses_onednn(layer) and not uses_onednn(other)
    assert not uses_onednn(layer)


def uses_onednn(layer):
    return type(layer(torch.ones(2, 4)).grad_fn).__name__ == f"{OnednnLinear.__name__}Backward"
