"""A PyTorch model in the loop that runs ONNX too."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import DynamicCache, PreTrainedModel


class TorchLanguageModel:
    """A PyTorch model behind the interface of `runtime.language_model.LanguageModel`."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model.eval()

    @torch.inference_mode()
    def forward(
        self, ids: NDArray[np.int64], mask: NDArray[np.int64], cache: Any, keep: int = 0
    ) -> tuple[NDArray[np.float32], Any]:
        """Logits [rows, kept, vocabulary] in fp32, or float64 where the model is, and the cache for the next call.

        The head computes no logits but those: at all positions of a long prompt they take more memory than the weights.
        """
        positions = np.maximum(mask.cumsum(-1) - 1, 0)[:, -ids.shape[1] :]
        # a cache of no config: one made by transformers forgets by sliding_window, where attention may not
        with self.head_on_last(keep):
            out = self.model(
                input_ids=torch.from_numpy(ids),
                attention_mask=torch.from_numpy(mask),
                position_ids=torch.from_numpy(positions),
                past_key_values=DynamicCache() if cache is None else cache,
                use_cache=True,
            )
        logits = out.logits[:, -keep:]
        return (logits if logits.dtype == torch.float64 else logits.float()).numpy(), out.past_key_values

    @contextmanager
    def head_on_last(self, keep: int) -> Iterator[None]:
        """For a while the head is given the last `keep` positions only, in any architecture; 0 for all."""
        head = self.model.get_output_embeddings()
        hook = head.register_forward_pre_hook(lambda _, inputs: (inputs[0][..., -keep:, :], *inputs[1:]))
        try:
            yield
        finally:
            hook.remove()

    @contextmanager
    def in_float64(self) -> Iterator["TorchLanguageModel"]:
        """The same weights in float64 for a while: each part as long as it computes, so they are never twice there."""
        hooks = [hook for part in computing_parts(self.model) for hook in widen_while_computing(part)]
        try:
            yield self
        finally:
            for hook in hooks:
                hook.remove()


def computing_parts(model: nn.Module) -> list[nn.Module]:
    """The blocks of a model, and whatever has weights or tables outside of them."""
    blocks = max((part for part in model.modules() if isinstance(part, nn.ModuleList)), key=len)
    inside = {id(part) for block in blocks for part in block.modules()}
    others = [part for part in model.modules() if id(part) not in inside and len(list(part.children())) == 0]
    return [*blocks, *others]


def widen_while_computing(part: nn.Module) -> list[RemovableHandle]:
    """Hooks that put the floating-point tensors of a part into float64 before it computes, and back after."""
    narrow: list[tuple[Tensor, Tensor]] = []

    def widen(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        with torch.inference_mode(False), torch.no_grad():
            for tensor in (*part.parameters(), *part.buffers()):
                if tensor.dtype == torch.float32:
                    narrow.append((tensor, tensor.data))
                    tensor.data = tensor.data.double()
        return tuple(each.double() if torch.is_tensor(each) and each.is_floating_point() else each for each in inputs)

    def restore(*_: Any) -> None:
        for tensor, data in narrow:
            tensor.data = data
        narrow.clear()

    return [part.register_forward_pre_hook(widen), part.register_forward_hook(restore, always_call=True)]
