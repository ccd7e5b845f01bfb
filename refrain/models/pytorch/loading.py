"""Weights in PyTorch: load them, make them ready to train, fold an adapter in, save."""

import importlib.util
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    GenerationConfig,
    PreTrainedModel,
    set_seed,
)

from refrain.models.pytorch import lora
from refrain.pipeline.schema import MethodConfig


def build_trainable(folder: Path, method: MethodConfig, seed: int, start: Path | None = None) -> PreTrainedModel:
    """A model ready to train, the same from the same arguments: each axis of the method is decided once, here.

    ValueError for what the base cannot do, before its weights load. `start` holds an adapter to begin with.
    """
    if method.adapter is not None:
        lora.check_adapter(load_on_meta(folder), method.adapter, start)
    set_seed(seed)
    if method.weights == "random":
        model = build_random(folder)
    else:
        model = load_pretrained(folder) if method.base_bits is None else load_in_4bit(folder)
    return model if method.adapter is None else cast(PreTrainedModel, lora.attach_adapter(model, method.adapter, start))


def load_pretrained(folder: Path, **settings: Any) -> PreTrainedModel:
    """The weights of a checked local folder, in fp32; safetensors only, no code of the folder's is run."""
    return cast(
        PreTrainedModel,
        AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            **settings,
        ),
    )


def build_random(folder: Path) -> PreTrainedModel:
    """The architecture of a folder, with fresh weights."""
    shape = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    return cast(PreTrainedModel, AutoModelForCausalLM.from_config(shape, dtype=torch.float32))


def load_on_meta(folder: Path) -> PreTrainedModel:
    """The architecture of a folder, with weights that take no memory and have no values."""
    with torch.device("meta"):
        return build_random(folder)


def load_in_4bit(folder: Path) -> PreTrainedModel:
    """Linear layers frozen in 4 bits (NF4, scales quantised again: arXiv:2305.14314); head, table and norms in fp32."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ValueError("method.base_bits=4 needs the package bitsandbytes; pip install 'refrain[qlora]'")
    nf4 = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,  # autocast lowers it where train.precision says so
    )
    model = load_pretrained(folder, quantization_config=nf4)
    for layer in model.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            # the first evaluation would pack the weights anew, in bf16, and all later gradients would be wrong
            cast(Any, layer).support_avx512bf16_for_cpu = False
    return model


def load_finetuned(base: Path, out: Path) -> PreTrainedModel:
    """What the train stage left in `out`: its adapter on the base, unquantised, or its full weights."""
    if not (out / lora.ADAPTER_CONFIG).is_file():
        return load_pretrained(out)
    return cast(PreTrainedModel, PeftModel.from_pretrained(load_pretrained(base), str(out)))


def merge_adapter(model: PreTrainedModel) -> PreTrainedModel:
    """The model with its adapter folded into the weights; without one, the model itself."""
    return model.merge_and_unload() if isinstance(model, PeftModel) else model


def save_pretrained(model: PreTrainedModel, out: Path) -> None:
    """Safetensors and config, the same bytes every time; `load_finetuned` gives the function that was trained."""
    if isinstance(model, PeftModel):
        lora.save_adapter(model, out)
    else:
        model.save_pretrained(out, safe_serialization=True)


def save_for_serving(model: PreTrainedModel, ends: frozenset[int], out: Path) -> None:
    """A folder that any runtime can serve: greedy by default, stopping where the chat template ends a reply."""
    own = cast(GenerationConfig, model.generation_config)
    model.generation_config = GenerationConfig(
        bos_token_id=own.bos_token_id, pad_token_id=own.pad_token_id, eos_token_id=sorted(ends)
    )
    save_pretrained(model, out)
