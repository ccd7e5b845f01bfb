"""Where the rows of a packed batch lie: every token once, also one that several rows begin with, and rows in stacks.

What a model computes of a token depends on those before it alone, so a common beginning is computed once. Attention
wants rectangles: rows of like length are one, the shorter filled up behind, where no token of theirs looks.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

Row = list[int]  # the numbers of its tokens in the batch
LEAST_SPREAD = 16  # tokens by which a row may be shorter than the longest of its stack, or a quarter of that one's


@dataclass(frozen=True)
class RowLayout:
    """Stacks of rows one after the other are slots: which token each takes, and which slot each token is read from."""

    tokens: Tensor
    slots: Tensor
    takers: Tensor  # the slots that take a token and are not filled up, token by token
    first_takers: Tensor  # where in `takers` those of each token begin
    shapes: list[tuple[int, int]]  # rows and length of each stack

    def stack(self, states: Tensor) -> tuple[Tensor, ...]:
        """States [1, heads, tokens, width] as a batch [rows, heads, length, width] for each stack."""
        flat = SlotFill.apply(states.squeeze(0).transpose(0, 1), self)  # type: ignore[no-untyped-call]
        parts = flat.split([rows * length for rows, length in self.shapes])
        return tuple(part.unflatten(0, shape).transpose(1, 2) for part, shape in zip(parts, self.shapes, strict=True))

    def unstack(self, stacks: list[Tensor]) -> Tensor:
        """Batches [rows, length, heads, width] as [1, tokens, heads, width]."""
        flat = torch.cat([states.flatten(0, 1) for states in stacks])
        return torch.as_tensor(SlotRead.apply(flat, self.slots))[None]  # type: ignore[no-untyped-call]


class SlotFill(torch.autograd.Function):
    """Tokens into slots; what was filled up gets no gradient, for no token looks there."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, layout: RowLayout) -> Tensor:
        ctx.layout = layout
        return states.index_select(0, layout.tokens)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        takers, firsts = ctx.layout.takers, ctx.layout.first_takers
        sums = functional.embedding_bag(takers, gradient.flatten(1), firsts, mode="sum")
        return sums.unflatten(1, gradient.shape[1:]), None


class SlotRead(torch.autograd.Function):
    """Slots back to tokens, each read from one."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, slots: Tensor) -> Tensor:
        ctx.slots, ctx.shape = slots, states.shape
        return states.index_select(0, slots)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.new_zeros(ctx.shape).index_copy_(0, ctx.slots, gradient), None


def number_tokens(texts: list[tuple[int, ...]], shares: bool) -> tuple[list[int], list[int], list[Row]]:
    """Ids and positions of the tokens of a batch, and which of them each text consists of."""
    ids: list[int] = []
    positions: list[int] = []
    rows: list[Row] = []
    numbers: dict[tuple[int, int], int] = {}  # of a token by that of the one before it and its id
    for text in texts:
        if not shares:
            numbers.clear()
        row, number = [], -1
        for position, token in enumerate(text):
            number = numbers.setdefault((number, token), len(ids))
            if number == len(ids):
                ids.append(token)
                positions.append(position)
            row.append(number)
        rows.append(row)
    return ids, positions, rows


def build_layout(rows: list[Row], device: torch.device) -> RowLayout:
    """The longest rows come first; a stack ends before a row that is much shorter than its first."""
    shapes: list[tuple[int, int]] = []
    filled: list[int] = []
    is_text: list[bool] = []
    for row in sorted(rows, key=len, reverse=True):
        if not shapes or len(row) < shapes[-1][1] - max(LEAST_SPREAD, shapes[-1][1] // 4):
            shapes.append((0, len(row)))
        count, length = shapes[-1]
        shapes[-1] = count + 1, length
        missing = length - len(row)
        filled += row + row[-1:] * missing
        is_text += [True] * len(row) + [False] * missing
    taken, texts = np.array(filled), np.array(is_text).nonzero()[0]
    texts = texts[taken[texts].argsort(kind="stable")]
    firsts = np.unique(taken[texts], return_index=True)[1]
    indices = (taken, texts[firsts], texts, firsts)
    tokens, slots, takers, first_takers = (torch.from_numpy(index).to(device) for index in indices)
    return RowLayout(tokens, slots, takers, first_takers, shapes)
