"""Families of models that the compact graph can draw: from config.json and weights to a Decoder.

A family is one function here and its name in FAMILIES. It takes every field of config.json that has a meaning; whatever
it did not take, and fields.MUTE does not list, is refused by name, and so is every weight that it did not read.
"""

from refrain.export.architectures.components import read_activation, read_head, read_linear, read_windows
from refrain.export.architectures.decoder import Decoder, Layer, Norm, rotary_frequencies
from refrain.export.architectures.model_files import Array, ConfigReader, TensorReader


def llama(fields: ConfigReader, weights: TensorReader) -> Decoder:
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
    turning = rotary_frequencies(fields.take("rope_theta", 10000.0), head_dim, fields.take("rope_scaling", None))
    width = read_windows(fields, layers)
    return Decoder(
        heads=heads,
        kv_heads=fields.take("num_key_value_heads", None) or heads,
        head_dim=head_dim,
        layers=layers,
        context=fields.take("max_position_embeddings"),
        epsilon=fields.take("rms_norm_eps"),
        scale=head_dim**-0.5,
        activation=read_activation(fields, "hidden_act"),
        gated=True,
        table=(table := weights.read("model.embed_tokens.weight")),
        table_scale=1.0,
        positions=None,
        layer=lambda i: llama_layer(weights, f"model.layers.{i}.", turning, width[i]),
        norm=Norm(weights.read("model.norm.weight")),
        head=read_head(weights, table),
    )


def llama_layer(weights: TensorReader, at: str, turning: Array, window: int | None) -> Layer:
    attention, mlp = f"{at}self_attn.", f"{at}mlp."
    return Layer(
        before_attention=Norm(weights.read(f"{at}input_layernorm.weight")),
        qkv=read_linear(weights, *(f"{attention}{name}_proj" for name in "qkv")),
        q_norm=Norm(weights.read(f"{attention}q_norm.weight")) if f"{attention}q_norm.weight" in weights else None,
        k_norm=Norm(weights.read(f"{attention}k_norm.weight")) if f"{attention}k_norm.weight" in weights else None,
        out=read_linear(weights, f"{attention}o_proj"),
        after_attention=None,
        before_mlp=Norm(weights.read(f"{at}post_attention_layernorm.weight")),
        up=read_linear(weights, f"{mlp}gate_proj", f"{mlp}up_proj"),
        down=read_linear(weights, f"{mlp}down_proj"),
        after_mlp=None,
        frequencies=turning,
        window=window,
    )
