"""A PyTorch model in the loop that runs ONNX too."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import FloatTensor, Tensor, nn
from torch.nn import functional
from transformers import DynamicCache, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

from refrain.training.cpu.onednn import PART, is_faster, linear, onednn_products

WIDE_BYTES = 2**26  # of the weights of a head that are in float64 at once


class TorchLanguageModel:
    """A PyTorch model behind the interface of `runtime.language_model.LanguageModel`."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model.eval()
        self._is_wide = False

    @torch.inference_mode()
    def forward(
        self, ids: NDArray[np.int64], mask: NDArray[np.int64], cache: Any, keep: int = 0
    ) -> tuple[NDArray[np.float32], Any]:
        """Logits [rows, kept, vocabulary] in fp32, or float64 where the model is, and the cache for the next call.

        The head computes no logits but those: at all positions of a long prompt they take more memory than the weights.
        """
        positions = np.maximum(mask.cumsum(-1) - 1, 0)[:, -ids.shape[1] :]
        # a cache of no config: one made by transformers forgets by sliding_window, where attention may not
        with self.head_on_last(keep), self.fast_products():
            out = self.model(
                input_ids=torch.from_numpy(ids),
                attention_mask=torch.from_numpy(mask),
                position_ids=torch.from_numpy(positions),
                past_key_values=DynamicCache() if cache is None else cache,
                use_cache=True,
            )
        logits = out.logits[:, -keep:]
        return (logits if logits.dtype == torch.float64 else logits.float()).numpy(), out.past_key_values

    @torch.inference_mode()
    def select_rows(self, cache: DynamicCache, rows: list[int]) -> DynamicCache:
        """What LanguageModel promises."""
        cache.batch_select_indices(torch.tensor(rows))
        return cache

    def fork_row(self, cache: DynamicCache, row: int) -> None:
        """What LanguageModel promises: the rows of a batch are filled up."""

    @torch.inference_mode()
    def read_states(self, ids: list[int], keep: int) -> NDArray[np.float32]:
        """What the head reads at the last positions of a sequence, [kept, width]: `head_logits` makes logits of it."""
        states: list[Tensor] = []

        def take(inputs: Tensor) -> Tensor:
            states.append(inputs[0, -keep:].clone())
            return inputs[:, -1:]

        with self.head_reads(take), self.fast_products():
            self.model(input_ids=torch.tensor([ids]), use_cache=False)
        return states[0].numpy()

    @torch.inference_mode()
    def head_logits(self, states: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits [kept, vocabulary] of what the head reads, and whatever the model does with them after its head."""
        given = torch.from_numpy(states)[None]
        with self.head_reads(lambda _: given), skip_body(self.model, given), self.fast_products():
            logits: Tensor = self.model(input_ids=torch.zeros((1, 1), dtype=torch.int64), use_cache=False).logits
        return logits[0].numpy()

    def head_on_last(self, keep: int) -> AbstractContextManager[None]:
        """For a while the head is given the last `keep` positions only, in any architecture; 0 for all."""
        return self.head_reads(lambda states: states[..., -keep:, :])

    @contextmanager
    def head_reads(self, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """For a while the head is given its inputs as `change` leaves them, in any architecture."""
        head = self.model.get_output_embeddings()
        hook = head.register_forward_pre_hook(lambda _, inputs: (change(inputs[0]), *inputs[1:]))
        try:
            yield
        finally:
            hook.remove()

    @contextmanager
    def fast_products(self) -> Iterator[None]:
        """Products of fp32 on a CPU through oneDNN where it is faster, as it is everywhere for a head's."""
        is_plain = self.model.dtype == torch.float32 and self.model.device.type == "cpu" and not self._is_wide
        with onednn_products(self.model) if is_plain else nullcontext():
            head = self.model.get_output_embeddings()
            if is_plain and type(head) is nn.Linear and not is_faster() and torch.backends.mkldnn.is_available():
                head.forward = partial(multiply_head, head)  # type: ignore[method-assign]
            yield

    @contextmanager
    def in_float64(self) -> Iterator["TorchLanguageModel"]:
        """The same weights in float64 for a while: each part as long as it computes, so they are never twice there."""
        with ExitStack() as stack:
            for part in computing_parts(self.model):
                stack.enter_context(widen(part))
            self._is_wide = True
            stack.callback(setattr, self, "_is_wide", False)
            yield self


def multiply_head(head: nn.Linear, inputs: Tensor) -> Tensor:
    """What a head gives, with the weights as the rows: MKL takes half as long again for 64 positions."""
    rows = inputs.reshape(-1, head.in_features)
    products = rows.new_empty(len(rows), head.out_features)
    for columns, part in zip(products.split(PART, 1), head.weight.split(PART), strict=True):
        columns.copy_(linear(part, rows).t())
    result = products if head.bias is None else products + head.bias
    return result.reshape(*inputs.shape[:-1], head.out_features)


@contextmanager
def skip_body(model: PreTrainedModel, states: Tensor) -> Iterator[None]:
    """For a while the layers below the head are not asked, where they are a part of their own."""
    body = model.base_model
    if body is model:
        yield
        return
    body.forward = lambda *_, **__: BaseModelOutputWithPastAndCrossAttentions(
        last_hidden_state=cast(FloatTensor, states)
    )
    try:
        yield
    finally:
        del body.forward


def computing_parts(model: nn.Module) -> list[nn.Module]:
    """The blocks of a model, and whatever has weights or tables outside of them."""
    blocks = max((part for part in model.modules() if isinstance(part, nn.ModuleList)), key=len)
    inside = {id(part) for block in blocks for part in block.modules()}
    others = [part for part in model.modules() if id(part) not in inside and len(list(part.children())) == 0]
    return [*blocks, *others]


def widen(part: nn.Module) -> AbstractContextManager[None]:
    """A part computes in float64 for a while; tables and heads, which may be most of a model, are never twice there."""
    if isinstance(part, nn.Embedding):
        return widen_vectors(part)
    return widen_products(part) if isinstance(part, nn.Linear) else widen_weights(part)


@contextmanager
def widen_vectors(table: nn.Embedding) -> Iterator[None]:
    """What is looked up comes in float64."""
    handle = table.register_forward_hook(lambda _, __, vectors: vectors.double())
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def widen_products(head: nn.Linear) -> Iterator[None]:
    """Products in float64, of some rows of the weights at a time."""
    rows = max(1, WIDE_BYTES // (8 * head.in_features))

    def forward(inputs: Tensor) -> Tensor:
        wide, bias = inputs.double(), None if head.bias is None else head.bias.double()
        parts = [functional.linear(wide, part.double()) for part in head.weight.split(rows)]
        products = torch.cat(parts, -1)
        return products if bias is None else products + bias

    head.forward = forward  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        del head.forward


@contextmanager
def widen_weights(part: nn.Module) -> Iterator[None]:
    """The floating-point tensors of a part are in float64 from before it computes until after."""
    narrow: list[tuple[Tensor, Tensor]] = []

    def enter(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        with torch.inference_mode(False), torch.no_grad():
            for tensor in (*part.parameters(), *part.buffers()):
                if tensor.dtype == torch.float32:
                    narrow.append((tensor, tensor.data))
                    tensor.data = tensor.data.double()
        return tuple(each.double() if torch.is_tensor(each) and each.is_floating_point() else each for each in inputs)

    def leave(*_: Any) -> None:
        for tensor, data in narrow:
            tensor.data = data
        narrow.clear()

    handles = [part.register_forward_pre_hook(enter), part.register_forward_hook(leave, always_call=True)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
