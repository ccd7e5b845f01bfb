"""Gradients of single rows over the matrices that a training has changed, several rows at a time.

A forward pass keeps what goes into each matrix and what comes out; the loss by what came out, times what went in, is
the gradient by the matrix, and the sum over the tokens of one row that of this row.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from refrain.models.influence.traced_model import TracedModel
from refrain.training.objectives import logprobs
from refrain.training.objectives.logprobs import LogprobFunction

LossFunction = Callable[[LogprobFunction], Tensor]


def layer_gradients(traced: TracedModel, loss: LossFunction, is_one_row: bool) -> Iterator[Tensor]:
    """For each layer, in order, the gradients of a summed loss [rows, size]: a row for each text, or one of all."""
    with torch.enable_grad(), record_calls(traced.layers) as calls:
        value = loss(partial(logprobs.sequence_logprobs, traced.model, packed=False))
        outputs = [output for _, output in calls.values()]
        by_outputs = dict(zip(calls, torch.autograd.grad(value, outputs), strict=True))
    for name in traced.layers:
        if name not in calls:
            raise ValueError(f"{name}: the model computes without this layer, so no row can be traced through it")
        gradients = torch.einsum("rto,rti->roi", by_outputs.pop(name), calls.pop(name)[0])
        yield (gradients.sum(0, keepdim=True) if is_one_row else gradients).flatten(1)


@contextmanager
def record_calls(layers: dict[str, nn.Module]) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """What goes into each layer and what comes out, of texts [rows, tokens, features]."""
    calls: dict[str, tuple[Tensor, Tensor]] = {}

    def record(name: str, layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        if inputs[0].dim() != 3:  # DoRA asks for the matrices themselves, by what they make of a unit matrix
            return
        if name in calls:
            raise ValueError(f"{name}: the model computes with it more than once, and rows cannot be told apart there")
        calls[name] = (inputs[0].detach(), output)

    handles = [layer.register_forward_hook(partial(record, name)) for name, layer in layers.items()]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()
