"""Attention inside each row of a packed batch: rows lie one after the other, and none sees another.

The usual way is a block mask over the whole length, which computes every block and throws most away. Here attention is
called once for each run of equally long rows, so that cross-talk is not masked but impossible, and nothing is padded.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import groupby
from typing import Any

import torch
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface

from refrain.training.cpu import bf16_attention

ATTENTION = "rows_apart"
KNOWN = {"row_lengths", "sliding_window", "dropout", "scaling", "is_causal"}  # what `attention_per_row` computes
UNUSED = {"position_ids", "cache_position", "position_embeddings", "logits_to_keep"}  # passed on, and read by none
FAR = 1 << 20  # tokens: beyond any window and chunk
ROUNDING = 1e-3  # of the spread of the logits


def is_supported(model: PreTrainedModel) -> bool:
    """Whether rows of a packed batch get what each gets alone: by what attention is told, and by trying it."""
    if not getattr(model, "_supports_attention_backend", False):
        return False
    mode = model.training
    model.eval()
    try:
        with torch.no_grad():
            return is_attention_known(model) and is_same_packed(model)
    finally:
        model.train(mode)


def is_attention_known(model: PreTrainedModel) -> bool:
    """Whether all attention asks for nothing that `attention_per_row` would leave out.

    A row may be shorter than a window or a chunk, so these are read from the model's own mask, and not tried.
    """
    is_known: list[bool] = []

    def listen(
        module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **settings: Any
    ) -> tuple[torch.Tensor, None]:
        told = {name for name, setting in settings.items() if setting is not None and setting is not False}
        span = min(settings.get("sliding_window") or FAR, FAR)
        is_known.append("row_lengths" in told and told <= KNOWN | UNUSED and read_span(attention_mask) in (None, span))
        return attention_per_row(module, query, key, value, None, **{"row_lengths": [1]} | settings)

    AttentionInterface.register("listen", listen)
    AttentionMaskInterface.register("listen", mask_of_span)
    token = torch.zeros(1, 1, dtype=torch.long, device=next(model.parameters()).device)
    inputs = {"input_ids": token, "position_ids": token, "attention_mask": token + 1}
    with swap_attention(model, "listen"):
        model(**inputs, use_cache=False, row_lengths=[1])
    return bool(is_known) and all(is_known)


def mask_of_span(mask_function: Callable[..., torch.Tensor], **settings: Any) -> torch.Tensor:
    """A mask of one number: how many tokens the last of very many sees."""
    last = torch.tensor(FAR - 1)
    return mask_function(0, 0, last, torch.arange(FAR)).sum().reshape(1, 1, 1, 1)


def read_span(mask: torch.Tensor | None) -> int | None:
    """The number in a mask of `mask_of_span`; None for a mask that the architecture makes by itself."""
    return int(mask.item()) if mask is not None and mask.numel() == 1 and mask.item() > 0 else None


def is_same_packed(model: PreTrainedModel) -> bool:
    """Whether the logits of short rows are the same packed and alone, but for rounding."""
    device = next(model.parameters()).device
    lengths = [7, 7, 3]
    ids = torch.arange(sum(lengths), device=device)[None] % model.config.get_text_config().vocab_size
    alone = torch.cat([model(input_ids=row, use_cache=False).logits[0] for row in ids.split(lengths, 1)])
    positions = torch.cat([torch.arange(length, device=device) for length in lengths])[None]
    with packed_attention(model):
        packed = model(input_ids=ids, position_ids=positions, row_lengths=lengths, use_cache=False).logits[0]
    return torch.allclose(packed, alone, atol=ROUNDING * float(alone.std()), rtol=0, equal_nan=True)


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
        stacks = tuple(stack_rows(states[:, :, start:stop], count) for states in (query, key, value))
        window = None if sliding_window is None or length <= sliding_window else sliding_window
        outputs.append(attend_in_rows(module, stacks, length, window, settings).flatten(0, 1))
        start = stop
    return torch.cat(outputs)[None], None


def attend_in_rows(
    module: Any, stacks: tuple[torch.Tensor, ...], length: int, window: int | None, settings: dict[str, Any]
) -> torch.Tensor:
    """Causal attention of equally long rows, to [rows, length, heads, width]."""
    queries, keys, values = stacks
    is_causal = settings.get("is_causal") is not False and getattr(module, "is_causal", True)
    if is_causal and not settings.get("dropout") and bf16_attention.is_faster(queries, length):
        return bf16_attention.attend(queries, keys, values, settings.get("scaling"), window)
    mask = None if window is None else sliding_window_mask(length, window, queries)
    return torch.as_tensor(sdpa_attention_forward(module, queries, keys, values, mask, **settings)[0])


def stack_rows(states: torch.Tensor, count: int) -> torch.Tensor:
    """Equally long rows [1, heads, count * length, width] as a batch [count, heads, length, width]."""
    return torch.as_tensor(states.unflatten(2, (count, -1)).squeeze(0).transpose(0, 1))


def sliding_window_mask(length: int, window: int, like: torch.Tensor) -> torch.Tensor:
    """True where a token attends: to itself and the window - 1 before it."""
    mask = torch.ones(length, length, dtype=torch.bool, device=like.device).tril()
    return torch.as_tensor(mask.triu(1 - window)[None, None])


AttentionInterface.register(ATTENTION, attention_per_row)
