"""The same bytes with any number of threads, where an operation of PyTorch would round by how they share the work."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import lcm, prod
from typing import Any

import torch
from torch import Tensor, nn
from transformers.activations import ACT2CLS

VECTORS = 64  # a multiple of the numbers that an activation computes at once; those that fill none it rounds otherwise
GRAIN = 2**15  # numbers, for each of which there is a thread at most, but for GELU
FEW = 2**14  # numbers that are left to one thread, by all activations
ACTIVATIONS = tuple({kind[0] if isinstance(kind, tuple) else kind for kind in ACT2CLS.values()})


@contextmanager
def thread_invariant_layers(model: nn.Module) -> Iterator[None]:
    """For a while the activations of a model, and its layer norms that learn, compute so on the CPU."""
    layers = [(part, forward) for part in model.modules() if (forward := forward_of(part)) is not None]
    for layer, forward in layers:
        layer.forward = forward
    try:
        yield
    finally:
        for layer, _ in layers:
            del layer.forward


@contextmanager
def ordered_sums() -> Iterator[None]:
    """For a while what is added to one place comes in its order, and not as threads get there: gradients of a token
    after which several rows have a label."""
    settings = torch.utils.deterministic
    before = settings.fill_uninitialized_memory  # type: ignore[attr-defined]
    mode = torch.get_deterministic_debug_mode()
    torch.use_deterministic_algorithms(True, warn_only=True)
    settings.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        settings.fill_uninitialized_memory = before  # type: ignore[attr-defined]


def forward_of(layer: nn.Module) -> Any:
    """What computes instead of the forward of a layer, if anything."""
    if type(layer) in ACTIVATIONS and not list(layer.parameters()):
        return partial(activate, layer.forward)
    if type(layer) is nn.LayerNorm and layer.elementwise_affine and layer.weight.requires_grad:
        return partial(normalise, layer)
    return None


def activate(activation: Any, inputs: Tensor) -> Tensor:
    """An activation of which each thread computes whole vectors, forward and backward."""
    return activate_in_parts(activation, inputs.flatten()).view(inputs.shape)


def activate_in_parts(activation: Any, numbers: Tensor) -> Tensor:
    """So many numbers at once as fill whole vectors of each thread, then what is left; but for the last vector."""
    count = len(numbers)
    shared = count_shared(count, torch.get_num_threads())
    if shared in (0, count):
        return torch.as_tensor(activation(numbers))
    first, left = numbers.split([shared, count - shared])
    return torch.cat([activation(first), activate_in_parts(activation, left)])


def count_shared(count: int, threads: int) -> int:
    """How many of the numbers are whole vectors for each of all threads, and of as many as there are grains."""
    while threads > 1 and count > FEW and (left := count % (VECTORS * lcm(threads, min(threads, -(-count // GRAIN))))):
        count -= left
    return count


def normalise(layer: Any, inputs: Tensor) -> Tensor:
    """torch.nn.LayerNorm."""
    return LayerNorm.apply(inputs, layer.weight, layer.bias, layer.eps)  # type: ignore[no-any-return, no-untyped-call]


class LayerNorm(torch.autograd.Function):
    """Gradients of weight and bias are sums by column, where PyTorch sums what each thread has of the rows."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
        result, mean, rstd = torch.native_layer_norm(inputs, weight.shape, weight, bias, eps)
        ctx.save_for_backward(inputs, mean, rstd, weight, bias)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, mean, rstd, weight, bias = ctx.saved_tensors
        of_inputs, _, _ = torch.ops.aten.native_layer_norm_backward(
            gradient, inputs, weight.shape, mean, rstd, weight, bias, [True, False, False]
        )
        rows = gradient.to(weight.dtype)
        of_weight = sum_rows(rows * ((inputs - mean) * rstd), weight)
        return of_inputs, of_weight, None if bias is None else sum_rows(rows, weight), None


def sum_rows(rows: Tensor, weight: Tensor) -> Tensor:
    """The sum of rows [..., *the shape of a weight]."""
    return rows.reshape(-1, prod(weight.shape)).sum(0).view(weight.shape)


def spread_lone_head(queries: Tensor, states: Tensor) -> Tensor:
    """Keys or values [rows, heads, length, width], on a CPU for each head of the queries where one row has one head.

    Attention gives each row and head to a thread; for a single one it would leave the threads to its products.
    """
    is_lone = states.device.type == "cpu" and states.shape[:2] == (1, 1)
    return states.expand(-1, queries.shape[1], -1, -1) if is_lone else states
