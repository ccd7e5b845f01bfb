"""A PyTorch model in the loop that runs ONNX too."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel


class TorchLanguageModel:
    """A PyTorch model behind the interface of `runtime.language_model.LanguageModel`."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model.eval()

    @torch.inference_mode()
    def forward(
        self, ids: NDArray[np.int64], mask: NDArray[np.int64], cache: Any, keep: int = 0
    ) -> tuple[NDArray[np.float32], Any]:
        """Logits [rows, kept, vocabulary] in fp32, and the cache that the next call goes on from."""
        positions = np.maximum(mask.cumsum(-1) - 1, 0)[:, -ids.shape[1] :]
        out = self.model(
            input_ids=torch.from_numpy(ids),
            attention_mask=torch.from_numpy(mask),
            position_ids=torch.from_numpy(positions),
            past_key_values=cache,
            use_cache=True,
        )
        return out.logits[:, -keep:].float().numpy(), out.past_key_values
