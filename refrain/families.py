"""Families of models that the compact graph can draw: from config.json and weights to a Decoder.

A family is one function here and its name in FAMILIES. It takes every field of config.json that has a meaning; whatever
it did not take, and fields.MUTE does not list, is refused by name, and so is every weight that it did not read.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from refrain.decoder import Decoder, Layer, Linear, Norm
from refrain.fields import Fields
from refrain.rotary import frequencies
from refrain.weights import Array, Weights

ACTIVATIONS = {
    "silu": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}


def read(folder: Path) -> tuple[Decoder, Weights]:
    """The decoder in a model folder and its weights; ValueError for a family or a field that has no place here."""
    fields = Fields(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    family = FAMILIES.get(name := fields.take("model_type"))
    if family is None:
        raise ValueError(f"config.json: model_type={name} is no family of the compact graph: {', '.join(FAMILIES)}")
    weights = Weights(folder)
    decoder = family(fields, weights)
    fields.end()
    return decoder, weights


def check(folder: Path) -> None:
    """ValueError unless the model in a folder can be drawn whole: no field and no weight left over."""
    decoder, weights = read(folder)
    for i in range(decoder.layers):
        decoder.layer(i)
    weights.end()


def llama(fields: Fields, weights: Weights) -> Decoder:
    """Llama, and what differs from it in its fields only: SmolLM2, Mistral, Qwen2, Qwen3."""
    hidden, heads = fields.take("hidden_size"), fields.take("num_attention_heads")
    fields.take("intermediate_size")  # the weights say it
    fields.take("attention_bias", False)
    fields.take("mlp_bias", False)
    fields.take("vocab_size")
    fields.take("tie_word_embeddings", False)  # the weights say it
    fields.expect("partial_rotary_factor", 1.0)
    head_dim = fields.take("head_dim", None) or hidden // heads
    layers = fields.take("num_hidden_layers")
    turning = frequencies(fields.take("rope_theta", 10000.0), head_dim, fields.take("rope_scaling", None))
    width = windows(fields, layers)
    return Decoder(
        heads=heads,
        kv_heads=fields.take("num_key_value_heads", None) or heads,
        head_dim=head_dim,
        layers=layers,
        context=fields.take("max_position_embeddings"),
        epsilon=fields.take("rms_norm_eps"),
        scale=head_dim**-0.5,
        activation=activation(fields, "hidden_act"),
        gated=True,
        table=(table := weights.read("model.embed_tokens.weight")),
        table_scale=1.0,
        positions=None,
        layer=lambda i: llama_layer(weights, f"model.layers.{i}.", turning, width[i]),
        norm=Norm(weights.read("model.norm.weight")),
        head=head(weights, table),
    )


def llama_layer(weights: Weights, at: str, turning: Array, window: int | None) -> Layer:
    attention, mlp = f"{at}self_attn.", f"{at}mlp."
    return Layer(
        before_attention=Norm(weights.read(f"{at}input_layernorm.weight")),
        qkv=stacked(weights, *(f"{attention}{name}_proj" for name in "qkv")),
        q_norm=Norm(weights.read(f"{attention}q_norm.weight")) if f"{attention}q_norm.weight" in weights else None,
        k_norm=Norm(weights.read(f"{attention}k_norm.weight")) if f"{attention}k_norm.weight" in weights else None,
        out=stacked(weights, f"{attention}o_proj"),
        after_attention=None,
        before_mlp=Norm(weights.read(f"{at}post_attention_layernorm.weight")),
        up=stacked(weights, f"{mlp}gate_proj", f"{mlp}up_proj"),
        down=stacked(weights, f"{mlp}down_proj"),
        after_mlp=None,
        frequencies=turning,
        window=window,
    )


def gemma3(fields: Fields, weights: Weights) -> Decoder:
    """Gemma 3 (arXiv:2503.19786): norms on both sides of a block, two rotary bases, most layers with a window."""
    hidden, layers, head_dim = fields.take("hidden_size"), fields.take("num_hidden_layers"), fields.take("head_dim")
    for name in ("intermediate_size", "vocab_size", "tie_word_embeddings"):
        fields.take(name, None)  # the weights say it
    fields.expect("attention_bias", False)
    fields.expect("use_bidirectional_attention", False)
    width = windows(fields, layers)
    scaling, base = fields.take("rope_scaling", None), fields.take("rope_theta")
    wide = frequencies(base, head_dim, scaling)
    near = frequencies(fields.take("rope_local_base_freq"), head_dim, None)
    return Decoder(
        heads=fields.take("num_attention_heads"),
        kv_heads=fields.take("num_key_value_heads"),
        head_dim=head_dim,
        layers=layers,
        context=fields.take("max_position_embeddings"),
        epsilon=fields.take("rms_norm_eps"),
        scale=fields.take("query_pre_attn_scalar") ** -0.5,
        activation=activation(fields, "hidden_activation"),
        gated=True,
        table=(table := weights.read("model.embed_tokens.weight")),
        table_scale=hidden**0.5,
        positions=None,
        layer=lambda i: gemma3_layer(weights, f"model.layers.{i}.", wide if width[i] is None else near, width[i]),
        norm=from_one(weights, "model.norm"),
        head=head(weights, table),
    )


def gemma3_layer(weights: Weights, at: str, turning: Array, window: int | None) -> Layer:
    attention, mlp = f"{at}self_attn.", f"{at}mlp."
    return Layer(
        before_attention=from_one(weights, f"{at}input_layernorm"),
        qkv=stacked(weights, *(f"{attention}{name}_proj" for name in "qkv")),
        q_norm=from_one(weights, f"{attention}q_norm"),
        k_norm=from_one(weights, f"{attention}k_norm"),
        out=stacked(weights, f"{attention}o_proj"),
        after_attention=from_one(weights, f"{at}post_attention_layernorm"),
        before_mlp=from_one(weights, f"{at}pre_feedforward_layernorm"),
        up=stacked(weights, f"{mlp}gate_proj", f"{mlp}up_proj"),
        down=stacked(weights, f"{mlp}down_proj"),
        after_mlp=from_one(weights, f"{at}post_feedforward_layernorm"),
        frequencies=turning,
        window=window,
    )


def gpt2(fields: Fields, weights: Weights) -> Decoder:
    """GPT-2 and DistilGPT-2: learned positions, biases everywhere, weights stored as [in, out]."""
    for name in ("vocab_size", "n_inner", "tie_word_embeddings"):
        fields.take(name, None)  # the weights say it
    fields.expect("scale_attn_weights", True)
    fields.expect("scale_attn_by_inverse_layer_idx", False)
    fields.expect("add_cross_attention", False)
    at = "transformer." if "transformer.wte.weight" in weights else ""
    heads, head_dim = fields.take("n_head"), fields.take("n_embd") // fields.take("n_head")
    return Decoder(
        heads=heads,
        kv_heads=heads,
        head_dim=head_dim,
        layers=fields.take("n_layer"),
        context=fields.take("n_positions"),
        epsilon=fields.take("layer_norm_epsilon"),
        scale=head_dim**-0.5,
        activation=activation(fields, "activation_function"),
        gated=False,
        table=(table := weights.read(f"{at}wte.weight")),
        table_scale=1.0,
        positions=weights.read(f"{at}wpe.weight"),
        layer=lambda i: gpt2_layer(weights, f"{at}h.{i}."),
        norm=both(weights, f"{at}ln_f"),
        head=head(weights, table),
    )


def gpt2_layer(weights: Weights, at: str) -> Layer:
    def linear(name: str) -> Linear:
        return Linear(weights.read(f"{at}{name}.weight").T, weights.read(f"{at}{name}.bias"))

    return Layer(
        before_attention=both(weights, f"{at}ln_1"),
        qkv=linear("attn.c_attn"),
        q_norm=None,
        k_norm=None,
        out=linear("attn.c_proj"),
        after_attention=None,
        before_mlp=both(weights, f"{at}ln_2"),
        up=linear("mlp.c_fc"),
        down=linear("mlp.c_proj"),
        after_mlp=None,
        frequencies=None,
        window=None,
    )


FAMILIES: dict[str, Callable[[Fields, Weights], Decoder]] = {
    "llama": llama,
    "mistral": llama,
    "qwen2": llama,
    "qwen3": llama,
    "gemma3_text": gemma3,
    "gpt2": gpt2,
}


def stacked(weights: Weights, *names: str) -> Linear:
    """Linear layers that read the same input as one; either all of them have a bias or none."""
    biased = f"{names[0]}.bias" in weights
    return Linear(
        np.concatenate([weights.read(f"{name}.weight") for name in names]),
        np.concatenate([weights.read(f"{name}.bias") for name in names]) if biased else None,
    )


def from_one(weights: Weights, name: str) -> Norm:
    """A norm whose weights are stored as their difference from one."""
    return Norm(weights.read(f"{name}.weight") + 1)


def both(weights: Weights, name: str) -> Norm:
    return Norm(weights.read(f"{name}.weight"), weights.read(f"{name}.bias"))


def head(weights: Weights, table: Array) -> Linear | None:
    """The head, when it is another matrix than the table: its weights tell, config.json may be wrong."""
    if "lm_head.weight" not in weights:
        return None
    own = weights.read("lm_head.weight")
    return (
        None
        if np.array_equal(own, table)
        else Linear(own, weights.read("lm_head.bias") if "lm_head.bias" in weights else None)
    )


def activation(fields: Fields, name: str) -> str:
    if (value := fields.take(name)) not in ACTIVATIONS:
        raise ValueError(f"config.json: {name}={value} is none of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[value]


def windows(fields: Fields, layers: int) -> list[int | None]:
    """How many tokens each layer sees, itself included; None for all."""
    width, used = fields.take("sliding_window", None), fields.take("use_sliding_window", True)
    types = fields.take("layer_types", None)
    if types is None and width is not None and used and fields.take("max_window_layers", None) is not None:
        raise ValueError("config.json: max_window_layers without layer_types has no place in the compact graph")
    fields.take("max_window_layers", None)
    if types is None:
        types = ["sliding_attention" if width is not None and used else "full_attention"] * layers
    if unknown := set(types) - {"sliding_attention", "full_attention"}:
        raise ValueError(f"config.json: layer_types={', '.join(sorted(unknown))} has no place in the compact graph")
    return [width if each == "sliding_attention" else None for each in types]
