"""Products with weights through oneDNN, on processors where it is faster in fp32 than MKL, which PyTorch links.

On AMD's, MKL takes its path for AVX2: half of what a core with AVX-512 can do, and on one without more than oneDNN.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

ROWS = 64  # a multiple of which all inputs have, and fewer than that a power of two
PART = 2**14  # rows or columns of what is multiplied at once
FEW = 32  # rows to which weights are given as the rows, for oneDNN copies its second operand: the same bits


def is_faster() -> bool:
    """Whether oneDNN is there, and ahead of what PyTorch multiplies with: by the processor alone, and so the same in
    each run."""
    onednn = torch.backends.mkldnn
    has_avx512 = "AVX512" in torch.backends.cpu.get_cpu_capability()
    return onednn.is_available() and bool(onednn.enabled) and (has_avx512 or not torch.backends.mkl.is_available())


@contextmanager
def onednn_products(model: nn.Module) -> Iterator[None]:
    """For a while the linear layers of a model in fp32 multiply so, forward and backward, with as many rows as do not
    depend on the number of threads."""
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
        rows = fill_up(inputs)
        ctx.save_for_backward(rows if ctx.needs_input_grad[1] else None, weight)
        result = product(rows, weight)[: inputs.shape[:-1].numel()]
        return (result if bias is None else result + bias).reshape(*inputs.shape[:-1], len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        rows, (inputs, weight) = fill_up(gradient), ctx.saved_tensors
        of_inputs = of_weight = None
        if ctx.needs_input_grad[0]:
            of_inputs = product(rows, weight.t())[: gradient.shape[:-1].numel()]
            of_inputs = of_inputs.reshape(*gradient.shape[:-1], weight.shape[1])
        if ctx.needs_input_grad[1]:
            of_weight = product(rows.t(), inputs.t())
        return of_inputs, of_weight, rows.sum(0) if ctx.needs_input_grad[2] else None


def fill_up(tensor: Tensor) -> Tensor:
    """[..., width] as rows [n, width], zeros behind them."""
    rows = tensor.reshape(-1, tensor.shape[-1])
    missing = count_missing(len(rows))
    return nn.functional.pad(rows, (0, 0, 0, missing)) if missing else rows


def count_missing(rows: int) -> int:
    """How many rows more oneDNN wants, which keeps memory for each shape that it has met: one that will come again.

    MKL rounds 5 to 11 rows otherwise with one thread than with several, unless they are a multiple of 4.
    """
    if is_faster():
        return -rows % min(ROWS, 1 << max(0, rows - 1).bit_length())
    return -rows % 4 if 4 < rows < 12 else 0


def product(rows: Tensor, weight: Tensor) -> Tensor:
    """rows [n, in] and weight [out, in] to [n, out]; what is larger than PART in parts, for oneDNN copies both."""
    if rows.dtype != torch.float32 or not is_faster():
        return rows @ weight.t()  # of bf16, by oneDNN too where the processor has such products
    if rows.numel() == 0:
        return rows.new_zeros(len(rows), len(weight))
    if len(rows) > PART:
        return torch.cat([product(part, weight) for part in rows.split(PART)])
    if len(weight) > PART:
        result = rows.new_empty(len(rows), len(weight))
        for columns, part in zip(result.split(PART, 1), weight.split(PART), strict=True):
            columns.copy_(product(rows, part))
        return result
    if rows.shape[1] > PART:
        pairs = zip(rows.split(PART, 1), weight.split(PART, 1), strict=True)
        return torch.stack([product(*pair) for pair in pairs]).sum(0)
    if len(rows) <= FEW and weight.is_contiguous():
        return linear(weight, rows).t().contiguous()
    return linear(rows, weight)


def add_product(total: Tensor, rows: Tensor, weight: Tensor) -> Tensor:
    """`product` added to what is there, in one go where MKL multiplies."""
    if total.dtype != torch.float32 or is_faster():
        return total.add_(product(rows, weight))
    return total.addmm_(rows, weight.t())


def linear(rows: Tensor, weight: Tensor) -> Tensor:
    """One product by oneDNN, which copies `rows` if need be; where those of `weight` lie apart, as the last positions
    of several sequences do, it takes hundreds of times as long."""
    if not (weight.is_contiguous() or weight.t().is_contiguous()):
        weight = weight.contiguous()
    return torch.ops.mkldnn._linear_pointwise(rows, weight, None, "none", [], "")  # type: ignore[no-any-return]
