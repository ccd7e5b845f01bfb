"""What the fields of config.json rule out by themselves."""

import re
import sys
from collections.abc import Iterator
from typing import Any

from transformers import PretrainedConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from refrain.models.pretrained.translation import ORIGINAL_CONTEXT, known_fields

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
            yield (
                f"config.json: {name}={dtype} is none of {', '.join(FLOATS)}; write the one that the tensors have, or "
                "choose the unquantised model"
            )
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
PARTIAL = "partial_rotary_factor"
NUMBERS = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
NUMBERS_OR_NONE = ("num_key_value_heads", "max_position_embeddings", "sliding_window")
MAX_NUMBER = 2**31 - 1  # what positions are counted with
TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
PARTS = ("text_config", "vision_config", "audio_config", "llm_config", "language_config")


def find_rotary_obstacles(config: PretrainedConfig) -> Iterator[str]:
    """Rotary positions that cannot be computed, or that depend on the length of a text: a graph has one set of them."""
    scaling = getattr(config, "rope_scaling", None) or {}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    factor = 1.0 if scaling.get("factor") is None else scaling["factor"]
    for name, value in (("rope_theta", getattr(config, "rope_theta", 1.0)), ("factor", factor)):
        if not is_positive(value):
            yield f"config.json: {name}={value!r} of the rotary positions must be a number above 0; repair the file"
    share = getattr(config, PARTIAL, None)
    if share not in (None, 1.0) and not known_fields(config.model_type).keys() & {PARTIAL, "rotary_pct"}:
        yield f"config.json: {PARTIAL}={share}, but {config.model_type} turns whole heads; repair the file"
    if turned := count_odd_dimensions(config):
        yield f"config.json: {turned} numbers of a head are turned, and rotary positions turn pairs; repair the file"
    if kind != "default" and kind not in (*ROPE_INIT_FUNCTIONS, "su"):
        yield f"config.json: rope_scaling of type {kind} is unknown to transformers; choose another model"
    context = config.max_position_embeddings if kind in ("longrope", "su") else 0
    before = getattr(config, ORIGINAL_CONTEXT, None) or scaling.get(ORIGINAL_CONTEXT) or context
    if before < context:
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


def find_number_obstacles(config: PretrainedConfig) -> Iterator[str]:
    """What is of another type than its family has it, and numbers that nothing can have so many of."""
    known = known_fields(config.model_type)
    wrong = {
        name: "true or false" if isinstance(default, bool) else "a number above 0"
        for name, default in known.items()
        if isinstance(default, int | float) and isinstance(getattr(config, name, None), str | dict)
    }
    for name in (*NUMBERS, *NUMBERS_OR_NONE):
        if (own := own_name(config, name)) in known and name not in wrong:
            value = getattr(config, name)
            is_left_out = value is None and name in NUMBERS_OR_NONE
            if not is_left_out and not (isinstance(value, int) and 0 < value <= MAX_NUMBER):
                wrong[own] = f"a whole number from 1 to {MAX_NUMBER}"
    for name, right in wrong.items():
        yield f"config.json: {name}={getattr(config, name)!r} must be {right}; repair the file"
    if not wrong:
        yield from find_id_obstacles("config.json", {name: getattr(config, name, None) for name in TOKEN_IDS})


def find_id_obstacles(file: str, values: dict[str, Any]) -> Iterator[str]:
    """The numbers of begin, end and padding, of which the end may have several."""
    for name in TOKEN_IDS:
        value = values.get(name)
        several = value if isinstance(value, list) and name == "eos_token_id" else [value]
        if not all(each is None or (isinstance(each, int) and not isinstance(each, bool)) for each in several):
            yield f"{file}: {name}={value!r} is not the number of a token; name one that tokenizer.json has, or null"


def find_shape_obstacles(config: PretrainedConfig) -> Iterator[str]:
    """Numbers that do not fit each other."""
    hidden, heads = getattr(config, "hidden_size", None), getattr(config, "num_attention_heads", None)
    groups = getattr(config, "num_key_value_heads", None)
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
