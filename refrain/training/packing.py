"""Attention inside each row of a packed batch: rows lie one after the other, and none sees another.

The usual way is a block mask over the whole length, which computes every block and throws most away. Here attention is
called once for each stack of rows of like length, so that cross-talk is not masked but impossible.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface

from refrain.training.cpu import bf16_attention
from refrain.training.cpu.thread_invariance import spread_lone_head
from refrain.training.row_layout import RowLayout, build_layout, number_tokens

ATTENTION = "rows_apart"
KNOWN = {"row_layout", "sliding_window", "dropout", "scaling", "is_causal"}  # what `attention_per_row` computes
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
        is_known.append("row_layout" in told and told <= KNOWN | UNUSED and read_span(attention_mask) in (None, span))
        return attention_per_row(module, query, key, value, None, **{"row_layout": layout} | settings)

    AttentionInterface.register("listen", listen)
    AttentionMaskInterface.register("listen", mask_of_span)
    token = torch.zeros(1, 1, dtype=torch.long, device=next(model.parameters()).device)
    inputs, layout = (
        {"input_ids": token, "position_ids": token, "attention_mask": token + 1},
        build_layout([[0]], token.device),
    )
    with swap_attention(model, "listen"):
        model(**inputs, use_cache=False, row_layout=layout)
    return bool(is_known) and all(is_known)


def mask_of_span(mask_function: Callable[..., torch.Tensor], **settings: Any) -> torch.Tensor:
    """A mask of one number: how many tokens the last of very many sees."""
    last = torch.tensor(FAR - 1)
    return mask_function(0, 0, last, torch.arange(FAR)).sum().reshape(1, 1, 1, 1)


def read_span(mask: torch.Tensor | None) -> int | None:
    """The number in a mask of `mask_of_span`; None for a mask that the architecture makes by itself."""
    return int(mask.item()) if mask is not None and mask.numel() == 1 and mask.item() > 0 else None


def is_same_packed(model: PreTrainedModel) -> bool:
    """Whether the logits of short rows, of which two begin alike, are the same packed and alone, but for rounding."""
    device, size = next(model.parameters()).device, model.config.get_text_config().vocab_size
    texts = [tuple(number % size for number in text) for text in ((*range(7),), (0, 1, 2, *range(7, 11)), (11, 12, 13))]
    alone = [model(input_ids=torch.tensor([text], device=device), use_cache=False).logits[0] for text in texts]
    ids, positions, rows = number_tokens(texts, shares=True)
    inputs = {"input_ids": torch.tensor([ids], device=device), "position_ids": torch.tensor([positions], device=device)}
    with packed_attention(model):
        packed = model(**inputs, row_layout=build_layout(rows, device), use_cache=False).logits[0]
    expected, logits = torch.cat(alone), packed[[token for row in rows for token in row]]
    return torch.allclose(logits, expected, atol=ROUNDING * float(expected.std()), rtol=0, equal_nan=True)


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
    """Inside, the model takes packed batches: `row_layout` beside `input_ids` and `position_ids`, and no mask."""
    return swap_attention(model, ATTENTION)


def attention_per_row(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    row_layout: RowLayout,
    sliding_window: int | None = None,
    **settings: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention [1, tokens, heads, width] of the rows of a layout."""
    outputs = []
    stacks = zip(*map(row_layout.stack, (query, key, value)), strict=True)
    for (_, length), states in zip(row_layout.shapes, stacks, strict=True):
        window = None if sliding_window is None or length <= sliding_window else sliding_window
        outputs.append(attend_in_rows(module, states, length, window, settings))
    return row_layout.unstack(outputs), None


def attend_in_rows(
    module: Any, stacks: tuple[torch.Tensor, ...], length: int, window: int | None, settings: dict[str, Any]
) -> torch.Tensor:
    """Causal attention of equally long rows, to [rows, length, heads, width]."""
    queries, keys, values = stacks
    is_causal = settings.get("is_causal") is not False and getattr(module, "is_causal", True)
    if is_causal and not settings.get("dropout") and bf16_attention.is_faster(queries, length):
        return bf16_attention.attend(queries, keys, values, settings.get("scaling"), window)
    mask = None if window is None else sliding_window_mask(length, window, queries)
    if mask is None:  # with one transformers spreads every head
        keys, values = spread_lone_head(queries, keys), spread_lone_head(queries, values)
    return torch.as_tensor(sdpa_attention_forward(module, queries, keys, values, mask, **settings)[0])


def sliding_window_mask(length: int, window: int, like: torch.Tensor) -> torch.Tensor:
    """True where a token attends: to itself and the window - 1 before it."""
    mask = torch.ones(length, length, dtype=torch.bool, device=like.device).tril()
    return torch.as_tensor(mask.triu(1 - window)[None, None])


AttentionInterface.register(ATTENTION, attention_per_row)
