"""A PyTorch model in the loop that runs ONNX too."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
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
        """The same weights in float64 for a while: they take twice their memory, and come back as they were."""
        self.model.double()
        try:
            yield self
        finally:
            self.model.float()
