"""Weights in PyTorch: load, attach an adapter, fold it in, and speak through the loop that serves ONNX too."""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedModel, set_seed

from refrain.config import Adapter, Method


def build(folder: Path, method: Method, seed: int) -> PreTrainedModel:
    """A model ready to train: each axis of the method is decided once, here."""
    set_seed(seed)
    model = random(folder) if method.weights == "random" else load(folder)
    return model if method.adapter is None else with_adapter(model, method.adapter)


def load(folder: Path) -> PreTrainedModel:
    """The weights of a checked local folder, in fp32; safetensors only, no code of the folder's is run."""
    return cast(
        PreTrainedModel,
        AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, local_files_only=True
        ),
    )


def random(folder: Path) -> PreTrainedModel:
    """The architecture of a folder, with fresh weights."""
    shape = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    return cast(PreTrainedModel, AutoModelForCausalLM.from_config(shape, dtype=torch.float32))


def with_adapter(base: PreTrainedModel, adapter: Adapter) -> PreTrainedModel:
    """The base, frozen, with LoRA matrices (arXiv:2106.09685) beside its linear layers, the head left alone."""
    lora = LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return cast(PreTrainedModel, get_peft_model(base, lora))


def trained(base: Path, out: Path) -> PreTrainedModel:
    """What the train stage left in `out`: its adapter on the base, or its full weights."""
    if not (out / "adapter_config.json").is_file():
        return load(out)
    return cast(PreTrainedModel, PeftModel.from_pretrained(load(base), str(out)))


def merged(model: PreTrainedModel) -> PreTrainedModel:
    """The model with its adapter folded into the weights; without one, the model itself."""
    return model.merge_and_unload() if isinstance(model, PeftModel) else model


def save(model: PreTrainedModel, out: Path) -> None:
    """Safetensors and config, the same bytes every time: PEFT keeps its targets in a set, so their order is chance."""
    model.save_pretrained(out, safe_serialization=True)
    (out / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
    if (file := out / "adapter_config.json").is_file():
        settings = json.loads(file.read_text())
        settings["target_modules"] = sorted(settings["target_modules"])
        file.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")


def save_whole(model: PreTrainedModel, ends: frozenset[int], out: Path) -> None:
    """A folder that any runtime can serve: greedy by default, stopping where the chat template ends a reply."""
    own = cast(GenerationConfig, model.generation_config)
    model.generation_config = GenerationConfig(
        bos_token_id=own.bos_token_id, pad_token_id=own.pad_token_id, eos_token_id=sorted(ends)
    )
    save(model, out)


class Speaker:
    """A PyTorch model behind the interface of `decoding.LanguageModel`."""

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
