"""Products with weights through oneDNN: on processors of AMD the fp32 products that PyTorch links run at half speed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D


@contextmanager
def onednn_products(model: nn.Module) -> Iterator[None]:
    """For a while the linear layers of a model multiply with oneDNN, forward and backward: the same sums in fp32."""
    layers = [part for part in model.modules() if type(part) in (nn.Linear, Conv1D)]
    for layer in layers:
        layer.forward = product_of(layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def product_of(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    """What computes instead of the forward of a layer, with the weights that it has at the time."""
    return partial(multiply_transposed if isinstance(layer, Conv1D) else multiply, layer)


def multiply(layer: Any, inputs: Tensor) -> Tensor:
    """inputs [..., in] and a weight [out, in] to [..., out]."""
    return OnednnLinear.apply(inputs, layer.weight, layer.bias)  # type: ignore[no-any-return, no-untyped-call]


def multiply_transposed(layer: Any, inputs: Tensor) -> Tensor:
    """The same with a weight [in, out]."""
    return OnednnLinear.apply(inputs, layer.weight.t(), layer.bias)  # type: ignore[no-any-return, no-untyped-call]


class OnednnLinear(torch.autograd.Function):
    """torch.nn.functional.linear of fp32 tensors on the CPU."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs if ctx.needs_input_grad[1] else None, weight)
        return linear(inputs, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        inputs, weight = ctx.saved_tensors
        of_inputs = linear(gradient, weight.t()) if ctx.needs_input_grad[0] else None
        rows = gradient.reshape(-1, gradient.shape[-1])
        of_weight = linear(rows.t(), inputs.reshape(-1, inputs.shape[-1]).t()) if ctx.needs_input_grad[1] else None
        return of_inputs, of_weight, rows.sum(0) if ctx.needs_input_grad[2] else None


def linear(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The product itself; what is empty has none."""
    if inputs.numel() == 0:
        return nn.functional.linear(inputs, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")  # type: ignore[no-any-return]
