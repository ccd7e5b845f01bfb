"""A linear layer with LoRA as one operation on the CPU: what the adapter adds is scaled thin, and summed in place.

PEFT makes three tensors of the layer's width for it, forward and backward, and under autocast a copy of all inputs.
With many rows the adapter is folded into the weight for the way forth, which is less than to add it to each row.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from refrain.training.cpu.onednn import add_product, fill_up, product


@contextmanager
def fused_adapters(model: nn.Module, dtype: torch.dtype, keeps_copies: bool) -> Iterator[None]:
    """For a while the plain LoRA layers of a model compute so, in fp32 or bf16.

    Frozen weights of another type are converted once, or at each use where no copies are to be kept.
    """
    layers: list[Any] = [part for part in model.modules() if isinstance(part, LoraLinear) and is_plain(part)]
    for layer in layers:
        layer.forward = partial(multiply, layer, base_weight(layer).to(dtype) if keeps_copies else None, dtype)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def is_plain(layer: LoraLinear) -> bool:
    """Whether a layer is W x + scale B A x of frozen W: no dropout, no variant such as DoRA, one adapter."""
    base, name = layer.base_layer, layer.active_adapters
    return (
        type(base) in (nn.Linear, Conv1D)
        and not any(weight.requires_grad for weight in base.parameters())
        and len(name) == 1
        and name[0] in layer.lora_A
        and not layer.lora_variant
        and not (layer.disable_adapters or layer.merged)
        and isinstance(layer.lora_dropout[name[0]], nn.Identity)
        and layer.lora_B[name[0]].bias is None
    )


def base_weight(layer: Any) -> Tensor:
    """The frozen weight [out, in]."""
    weight = layer.base_layer.weight.detach()
    return torch.as_tensor(weight.t() if isinstance(layer.base_layer, Conv1D) else weight)


def multiply(layer: Any, copy: Tensor | None, dtype: torch.dtype, inputs: Tensor) -> Tensor:
    """inputs [..., in] to [..., out]."""
    weight, [name] = base_weight(layer).to(dtype) if copy is None else copy, layer.active_adapters
    down, up, scale = layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name]
    with torch.autocast("cpu", enabled=False):
        result = LoraProduct.apply(inputs, weight, layer.base_layer.bias, down, up, scale)  # type: ignore[no-untyped-call]
    return torch.as_tensor(result)


def is_folding_cheaper(rows: Tensor, weight: Tensor) -> bool:
    """Whether W + scale B A, made for one product, takes less than what the adapter adds to so many rows.

    In bf16 the sum would lose what the adapter has learned.
    """
    return weight.dtype == torch.float32 and 3 * weight.shape[1] < len(rows)


def is_summing_cheaper(rows: Tensor, weight: Tensor, rank: int) -> bool:
    """Whether the gradient of a whole weight, from which those of both matrices follow, takes less than theirs.

    Such a weight is smaller than twice its adapter, so what it is folded to may be kept.
    """
    return (len(rows) + 2 * rank) * weight.numel() < 2 * rank * len(rows) * sum(weight.shape)


class LoraProduct(torch.autograd.Function):
    """W x + bias + scale B A x, of the type of W."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float
    ) -> Tensor:
        rows, down, up = fill_up(inputs.to(weight.dtype)), down.to(weight.dtype), up.to(weight.dtype)
        ctx.scale, ctx.shape, ctx.dtype = scale, inputs.shape, inputs.dtype
        is_folded, thin = is_folding_cheaper(rows, weight), None
        ctx.is_summed = is_folded and is_summing_cheaper(rows, weight, len(down))
        if is_folded:
            folded = torch.add(weight, product(up, down.t()), alpha=scale)
            result = product(rows, folded)
            weight = folded if ctx.is_summed else weight
        else:
            thin = product(rows, down) * scale
            result = add_product(product(rows, weight), thin, up)
        ctx.save_for_backward(rows, thin, weight, down, up)
        result = result if bias is None else result.add_(bias.to(result.dtype))
        return result[: inputs.shape[:-1].numel()].reshape(*inputs.shape[:-1], len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, thin, weight, down, up = ctx.saved_tensors
        of_rows = fill_up(gradient.to(weight.dtype))
        of_inputs = product(of_rows, weight.t()) if ctx.needs_input_grad[0] else None
        if ctx.is_summed:
            of_weight = product(of_rows.t(), rows.t()) * ctx.scale
            of_down, of_up = product(up.t(), of_weight.t()), product(of_weight, down)
        else:
            thin = product(rows, down) * ctx.scale if thin is None else thin
            of_thin = product(of_rows, up.t()) * ctx.scale
            of_down, of_up = product(of_thin.t(), rows.t()), product(of_rows.t(), thin.t())
            of_inputs = None if of_inputs is None else add_product(of_inputs, of_thin, down.t())
        if of_inputs is not None:
            of_inputs = of_inputs[: ctx.shape[:-1].numel()].reshape(ctx.shape).to(ctx.dtype)
        return of_inputs, None, None, of_down.float(), of_up.float(), None
