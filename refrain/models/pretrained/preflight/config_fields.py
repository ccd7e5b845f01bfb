"""What the fields of config.json rule out by themselves."""

import re
import sys
from collections.abc import Iterator
from typing import Any

from transformers import PretrainedConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

OTHER_HEAD = re.compile(r"For(Sequence|Token)Classification$|ForQuestionAnswering$|ForMaskedLM$|RewardModel$")
FLOATS = ("float32", "float16", "bfloat16", "float64", "auto")


def find_kind_obstacles(values: dict[str, Any]) -> Iterator[str]:
    """What the file says of a model that is not one causal language model in floating point."""
    for name in ("quantization_config", "compression_config"):
        if values.get(name) is not None:
            yield (
                f"config.json: {name} says that the weights are in few bits, to which nothing can be folded; "
                "choose the unquantised model, method=qlora makes 4 bits of it"
            )
    for name in ("dtype", "torch_dtype"):
        if (dtype := values.get(name)) is not None and str(dtype).removeprefix("torch.") not in FLOATS:
            yield f"config.json: {name}={dtype} is none of {', '.join(FLOATS)}; choose the unquantised model"
    if parts := sorted(name for name in values if name.endswith("_config") and name in PARTS):
        yield (
            f"config.json: model_type={values.get('model_type')} is a text model inside of another "
            f"({', '.join(parts)}); "
            "choose one of text alone, or save its text model by itself and use model=folder"
        )
    if values.get("is_encoder_decoder"):
        yield "config.json: is_encoder_decoder=true is no causal language model; choose one that has a decoder alone"
    if values.get("use_bidirectional_attention") or values.get("is_causal") is False:
        yield "config.json: use_bidirectional_attention or is_causal lets tokens see later ones; choose a causal model"
    if heads := [name for name in values.get("architectures") or [] if OTHER_HEAD.search(str(name))]:
        yield f"config.json: architectures={heads[0]} has no head for words; choose a causal language model"
    if values.get("per_layer_config") is not None:
        yield "config.json: per_layer_config is read by transformers 5 alone; choose a model whose layers are alike"


EPSILONS = ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_eps")
PARTS = ("text_config", "vision_config", "audio_config", "llm_config", "language_config")


def find_rotary_obstacles(config: PretrainedConfig) -> Iterator[str]:
    """Rotary positions that cannot be computed, or that depend on the length of a text: a graph has one set of them."""
    scaling = getattr(config, "rope_scaling", None) or {}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    for name, value in (("rope_theta", getattr(config, "rope_theta", None)), ("factor", scaling.get("factor"))):
        if value is not None and not is_positive(value):
            yield f"config.json: {name}={value!r} of the rotary positions must be a number above 0; repair the file"
    if turned := count_odd_dimensions(config):
        yield f"config.json: {turned} numbers of a head are turned, and rotary positions turn pairs; repair the file"
    if kind != "default" and kind not in (*ROPE_INIT_FUNCTIONS, "su"):
        yield f"config.json: rope_scaling of type {kind} is unknown to transformers; choose another model"
    before = getattr(config, "original_max_position_embeddings", None) or scaling.get(
        "original_max_position_embeddings"
    )
    if kind in ("longrope", "su") and (before is None or before < config.max_position_embeddings):
        yield (
            f"config.json: rope_scaling of type {kind} has other factors for texts beyond {before} tokens, and a graph "
            "holds one set; choose a model without it, for instance the one with the shorter context"
        )


def count_odd_dimensions(config: PretrainedConfig) -> int:
    """How many numbers of a head are turned, where they are no pairs; else 0."""
    hidden, heads = getattr(config, "hidden_size", None), getattr(config, "num_attention_heads", None)
    if not hasattr(config, "rope_theta") or not hidden or not heads:
        return 0
    share = getattr(config, "partial_rotary_factor", None) or 1.0
    turned = int((getattr(config, "head_dim", None) or hidden // heads) * share)
    return turned if turned % 2 else 0


def find_shape_obstacles(config: PretrainedConfig) -> Iterator[str]:
    """Numbers that do not fit each other."""
    hidden, heads = getattr(config, "hidden_size", None), getattr(config, "num_attention_heads", None)
    groups = getattr(config, "num_key_value_heads", None)
    for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"):
        value = getattr(config, name, 1)
        if not isinstance(value, int) or value <= 0:
            yield f"config.json: {own_name(config, name)}={value!r} must be a number above 0; repair the file"
            return
    for name in EPSILONS:
        if not is_positive(getattr(config, name, 1.0)):
            yield f"config.json: {name}={getattr(config, name)!r} must be a number above 0; repair the file"
    if (getattr(config, "pad_token_id", None) or 0) >= getattr(config, "vocab_size", sys.maxsize):
        yield (
            f"config.json: pad_token_id={config.pad_token_id} is beyond vocab_size={config.vocab_size}; "
            "name a token that has a row, or null"
        )
    own_head_dim = hidden and heads and (getattr(config, "head_dim", None) or hidden // heads) != hidden // heads
    if hidden and heads and not own_head_dim and hidden % heads:
        yield (
            f"config.json: {own_name(config, 'hidden_size')}={hidden} is no multiple of "
            f"{own_name(config, 'num_attention_heads')}={heads}; repair the file"
        )
    if heads and groups and heads % groups:
        yield (
            f"config.json: num_attention_heads={heads} is no multiple of num_key_value_heads={groups}; repair the file"
        )


def is_positive(value: object) -> bool:
    return isinstance(value, int | float) and value > 0


def own_name(config: PretrainedConfig, name: str) -> str:
    """What the family calls a field."""
    return str(config.attribute_map.get(name, name))
