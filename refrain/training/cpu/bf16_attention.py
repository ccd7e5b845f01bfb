"""Causal attention in bf16 on a CPU, by products of matrices: PyTorch's kernel is several times slower backward.

Scores are computed in fp32, what follows in bf16; nothing that grows with the square of the length is kept.
"""

from typing import Any

import torch
from torch import Tensor

MOST = 1024  # tokens of a row: with more the kernel is faster, which leaves out what lies above the diagonal
HALF = torch.bfloat16


def is_faster(query: Tensor, length: int) -> bool:
    """Whether PyTorch would take that kernel for rows of such a length, and these products are faster."""
    is_half = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == HALF
    return query.device.type == "cpu" and is_half and length <= MOST


def attend(queries: Tensor, keys: Tensor, values: Tensor, scale: float | None, window: int | None) -> Tensor:
    """queries [rows, heads, length, width], keys and values of as many heads or fewer: [rows, length, heads, width]."""
    length, sharing = queries.shape[2], queries.shape[1] // keys.shape[1]
    is_seen = torch.ones(length, length, dtype=torch.bool).tril()
    if window is not None:
        is_seen = is_seen.triu(1 - window)
    mask = torch.zeros(length, length).masked_fill(~is_seen, float("-inf")).repeat(sharing, 1)
    scale = queries.shape[-1] ** -0.5 if scale is None else scale
    with torch.autocast("cpu", enabled=False):
        result = Bf16Attention.apply(queries, keys, values, mask, scale)  # type: ignore[no-untyped-call]
    return torch.as_tensor(result).transpose(1, 2)


class Bf16Attention(torch.autograd.Function):
    """softmax(scale Q K' + mask) V; the heads that share a key are one longer matrix."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, scale: float) -> Tensor:
        groups = keys.shape[0] * keys.shape[1]
        q = queries.float().reshape(groups, -1, queries.shape[-1])
        k, v = keys.float().flatten(0, 1), values.to(HALF).flatten(0, 1)
        ctx.save_for_backward(q, k, v, mask)
        ctx.scale, ctx.inputs = scale, [(part.shape, part.dtype) for part in (queries, keys, values)]
        return torch.bmm(weigh(q, k, mask, scale), v).view(*queries.shape[:-1], v.shape[-1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, mask = ctx.saved_tensors
        gradient, weights = gradient.to(HALF).reshape(len(q), -1, v.shape[-1]), weigh(q, k, mask, ctx.scale)
        of_weights = torch.bmm(gradient, v.transpose(1, 2))
        of_scores = torch._softmax_backward_data(of_weights, weights, -1, HALF)
        gradients = (
            torch.bmm(of_scores, k.to(HALF)) * ctx.scale,
            torch.bmm(of_scores.transpose(1, 2), q.to(HALF)) * ctx.scale,
            torch.bmm(weights.transpose(1, 2), gradient),
        )
        pairs = zip(gradients, ctx.inputs, strict=True)
        return *(result.view(shape).to(dtype) for result, (shape, dtype) in pairs), None, None


def weigh(q: Tensor, k: Tensor, mask: Tensor, scale: float) -> Tensor:
    """How much each token takes of each before it."""
    return torch.baddbmm(mask, q, k.transpose(1, 2), alpha=scale).softmax(-1).to(HALF)
