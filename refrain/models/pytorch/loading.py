"""Weights in PyTorch: load them, make them ready to train, fold an adapter in, save."""

import importlib.util
import json
import logging
from pathlib import Path
from time import monotonic
from typing import Any, cast

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
    set_seed,
)

from refrain.pipeline.schema import MethodConfig

log = logging.getLogger(__name__)
WAY_BACK = "`dvc checkout --force` brings back what a stage made, a folder of your own is to be copied anew"


def build_trainable(folder: Path, method: MethodConfig, seed: int, start: Path | None = None) -> PreTrainedModel:
    """A model ready to train, the same from the same arguments: each axis of the method is decided once, here.

    ValueError for what the base cannot do, before its weights load. `start` holds an adapter to begin with.
    """
    bare = load_on_meta(folder)
    require_savable(bare)
    if method.adapter is not None:
        from refrain.models.pytorch import lora  # a second of PEFT, which a model without an adapter does without

        lora.check_adapter(bare, method.adapter, start)
    set_seed(seed)
    if method.weights == "random":
        model = build_random(folder)
    else:
        model = load_pretrained(folder) if method.base_bits is None else load_in_4bit(folder)
    return model if method.adapter is None else cast(PreTrainedModel, lora.attach_adapter(model, method.adapter, start))


def load_pretrained(folder: Path, **settings: Any) -> PreTrainedModel:
    """The weights of a checked local folder, in fp32; safetensors only, no code of the folder's is run.

    ValueError where one of its files is missing or cut short.
    """
    shape = read_config(folder)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            attn_implementation=choose_attention(shape),
            **settings,
        )
    except SafetensorError as error:
        raise ValueError(f"{folder}: its weights are cut short or no safetensors ({error}); {WAY_BACK}") from error
    return with_plain_generation(cast(PreTrainedModel, model))


def read_config(folder: Path) -> PretrainedConfig:
    """The shape of the model in a local folder; ValueError where config.json says none."""
    file = folder / "config.json"
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{file}: it is missing; {WAY_BACK}") from error
    except ValueError as error:
        raise ValueError(f"{file}: it is cut short or no JSON; {WAY_BACK}") from error
    if not isinstance(values, dict) or not values.get("model_type"):
        raise ValueError(f"{file}: it names no model_type, so it is not whole; {WAY_BACK}")
    return cast(PretrainedConfig, AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True))


def choose_attention(shape: PretrainedConfig) -> str | None:
    """The implementation that computes all of a model's attention; null is the default of transformers.

    That default is SDPA also where attention logits are capped (Gemma 2), and SDPA leaves the cap out in silence.
    """
    return "eager" if getattr(shape.get_text_config(), "attn_logit_softcapping", None) is not None else None


def with_plain_generation(model: PreTrainedModel) -> PreTrainedModel:
    """The model without settings of sampling, and no padding below 0: transformers loads some that it will not save."""
    shape, own = model.config, cast(GenerationConfig, model.generation_config)
    defaults = shape._get_global_generation_defaults()
    for name in shape._get_non_default_generation_parameters():
        setattr(shape, name, defaults[name])
    pad = own.pad_token_id if own.pad_token_id is not None and own.pad_token_id >= 0 else None
    model.generation_config = GenerationConfig(
        bos_token_id=own.bos_token_id, pad_token_id=pad, eos_token_id=own.eos_token_id
    )
    return model


def build_random(folder: Path) -> PreTrainedModel:
    """The architecture of a folder, with fresh weights."""
    shape = read_config(folder)
    settings = {"dtype": torch.float32, "attn_implementation": choose_attention(shape)}
    return with_plain_generation(cast(PreTrainedModel, AutoModelForCausalLM.from_config(shape, **settings)))


def load_on_meta(folder: Path) -> PreTrainedModel:
    """The architecture of a folder, with weights that take no memory and have no values."""
    with torch.device("meta"):
        return build_random(folder)


def load_in_4bit(folder: Path) -> PreTrainedModel:
    """Linear layers frozen in 4 bits (NF4, scales quantised again: arXiv:2305.14314); head, table and norms in fp32."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ValueError("method.base_bits=4 needs the package bitsandbytes; pip install 'refrain-lm[qlora]'")
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
    from peft import PeftModel

    from refrain.models.pytorch import lora

    if not (out / lora.ADAPTER_CONFIG).is_file():
        return load_pretrained(out)
    return cast(PreTrainedModel, PeftModel.from_pretrained(load_pretrained(base), str(out)))


def merge_adapter(model: PreTrainedModel) -> PreTrainedModel:
    """The model with its adapter folded into the weights; without one, the model itself."""
    from peft import PeftModel

    return model.merge_and_unload() if isinstance(model, PeftModel) else model


def save_pretrained(model: PreTrainedModel, out: Path) -> None:
    """Safetensors and config, the same bytes every time; `load_finetuned` gives the function that was trained."""
    from peft import PeftModel

    from refrain.models.pytorch import lora

    if isinstance(model, PeftModel):
        lora.save_adapter(model, out)
    else:
        model.save_pretrained(out, safe_serialization=True)


def save_for_serving(model: PreTrainedModel, ends: frozenset[int], out: Path) -> None:
    """A folder that any runtime can serve: greedy by default, stopping where the chat template ends a reply."""
    start = monotonic()
    cast(GenerationConfig, with_plain_generation(model).generation_config).eos_token_id = sorted(ends)
    save_pretrained(model, out)
    size = sum(file.stat().st_size for file in out.glob("*.safetensors")) / 1e6
    log.info("%s: %.1f MB written in %.1f s", out, size, monotonic() - start)


def require_savable(bare: PreTrainedModel) -> None:
    """ValueError when transformers would not save the settings of such a model, which it says after a training only."""
    kind = f"a model of the kind {bare.config.model_type}"
    try:
        bare.config.to_json_string()
        cast(GenerationConfig, bare.generation_config).validate(strict=True)
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"config.json of the base: transformers would not save {kind} with it ({reason}); "
                         "remove what it names") from error  # fmt: skip
