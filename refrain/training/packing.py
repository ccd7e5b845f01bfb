"""Attention inside each row of a packed batch: rows lie one after the other, and none sees another.

The usual way is a block mask over the whole length, which computes every block and throws most away. Here attention is
called once for each run of equally long rows, so that cross-talk is not masked but impossible, and nothing is padded.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import groupby
from typing import Any

import torch
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

ATTENTION = "rows_apart"


def is_supported(model: PreTrainedModel) -> bool:
    """Whether the architecture lets its attention be exchanged and tells it of `row_lengths`; GPT-2 does not."""
    if not getattr(model, "_supports_attention_backend", False):
        return False
    receives_lengths: list[bool] = []

    def listen(*states: Any, **settings: Any) -> tuple[torch.Tensor, None]:
        receives_lengths.append("row_lengths" in settings)
        return attention_per_row(*states, **{"row_lengths": [1]} | settings)

    AttentionInterface.register("listen", listen)
    token = torch.zeros(1, 1, dtype=torch.long, device=next(model.parameters()).device)
    with swap_attention(model, "listen"), torch.no_grad():
        model(input_ids=token, position_ids=token, use_cache=False, row_lengths=[1])
    return all(receives_lengths)


@contextmanager
def swap_attention(model: PreTrainedModel, name: str) -> Iterator[None]:
    """Inside, the model attends by the function of that name."""
    before = model.config._attn_implementation
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def packed_attention(model: PreTrainedModel) -> AbstractContextManager[None]:
    """Inside, the model takes packed batches: `row_lengths` beside `input_ids` and `position_ids`, and no mask."""
    return swap_attention(model, ATTENTION)


def attention_per_row(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    row_lengths: list[int],
    sliding_window: int | None = None,
    **settings: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention [1, tokens, heads, width] of rows whose lengths add up to all tokens."""
    outputs, start = [], 0
    for length, run in groupby(row_lengths):
        count = len(list(run))
        stop = start + count * length
        queries, keys, values = (stack_rows(states[:, :, start:stop], count) for states in (query, key, value))
        window = (
            None
            if sliding_window is None or length <= sliding_window
            else sliding_window_mask(length, sliding_window, query)
        )
        outputs.append(sdpa_attention_forward(module, queries, keys, values, window, **settings)[0].flatten(0, 1))
        start = stop
    return torch.cat(outputs)[None], None


def stack_rows(states: torch.Tensor, count: int) -> torch.Tensor:
    """Equally long rows [1, heads, count * length, width] as a batch [count, heads, length, width]."""
    return torch.as_tensor(states.unflatten(2, (count, -1)).squeeze(0).transpose(0, 1))


def sliding_window_mask(length: int, window: int, like: torch.Tensor) -> torch.Tensor:
    """True where a token attends: to itself and the window - 1 before it."""
    mask = torch.ones(length, length, dtype=torch.bool, device=like.device).tril()
    return torch.as_tensor(mask.triu(1 - window)[None, None])


AttentionInterface.register(ATTENTION, attention_per_row)
