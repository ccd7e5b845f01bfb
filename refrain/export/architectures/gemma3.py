"""Families of models that the compact graph can draw: from config.json and weights to a Decoder.

A family is one function here and its name in FAMILIES. It takes every field of config.json that has a meaning; whatever
it did not take, and fields.MUTE does not list, is refused by name, and so is every weight that it did not read.
"""

from refrain.export.architectures.components import (
    read_activation,
    read_gemma_norm,
    read_head,
    read_linear,
    read_windows,
)
from refrain.export.architectures.decoder import Decoder, Layer, rotary_frequencies
from refrain.export.architectures.model_files import Array, ConfigReader, TensorReader


def gemma3(fields: ConfigReader, weights: TensorReader) -> Decoder:
    """Gemma 3 (arXiv:2503.19786): norms on both sides of a block, two rotary bases, most layers with a window."""
    hidden, layers, head_dim = fields.take("hidden_size"), fields.take("num_hidden_layers"), fields.take("head_dim")
    for name in ("intermediate_size", "vocab_size", "tie_word_embeddings"):
        fields.take(name, None)  # the weights say it
    fields.expect("attention_bias", False)
    fields.expect("use_bidirectional_attention", False)
    width = read_windows(fields, layers)
    scaling, base = fields.take("rope_scaling", None), fields.take("rope_theta")
    wide = rotary_frequencies(base, head_dim, scaling)
    near = rotary_frequencies(fields.take("rope_local_base_freq"), head_dim, None)
    return Decoder(
        heads=fields.take("num_attention_heads"),
        kv_heads=fields.take("num_key_value_heads"),
        head_dim=head_dim,
        layers=layers,
        context=fields.take("max_position_embeddings"),
        epsilon=fields.take("rms_norm_eps"),
        scale=fields.take("query_pre_attn_scalar") ** -0.5,
        activation=read_activation(fields, "hidden_activation"),
        gated=True,
        table=(table := weights.read("model.embed_tokens.weight")),
        table_scale=hidden**0.5,
        positions=None,
        layer=lambda i: gemma3_layer(weights, f"model.layers.{i}.", wide if width[i] is None else near, width[i]),
        norm=read_gemma_norm(weights, "model.norm"),
        head=read_head(weights, table),
    )


def gemma3_layer(weights: TensorReader, at: str, turning: Array, window: int | None) -> Layer:
    attention, mlp = f"{at}self_attn.", f"{at}mlp."
    return Layer(
        before_attention=read_gemma_norm(weights, f"{at}input_layernorm"),
        qkv=read_linear(weights, *(f"{attention}{name}_proj" for name in "qkv")),
        q_norm=read_gemma_norm(weights, f"{attention}q_norm"),
        k_norm=read_gemma_norm(weights, f"{attention}k_norm"),
        out=read_linear(weights, f"{attention}o_proj"),
        after_attention=read_gemma_norm(weights, f"{at}post_attention_layernorm"),
        before_mlp=read_gemma_norm(weights, f"{at}pre_feedforward_layernorm"),
        up=read_linear(weights, f"{mlp}gate_proj", f"{mlp}up_proj"),
        down=read_linear(weights, f"{mlp}down_proj"),
        after_mlp=read_gemma_norm(weights, f"{at}post_feedforward_layernorm"),
        frequencies=turning,
        window=window,
    )
