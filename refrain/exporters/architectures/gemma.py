"""Gemma, the text models: norms are stored as their difference from one, and the embedding is scaled."""

from dataclasses import replace
from typing import Any

from refrain.exporters.architectures.config_reader import ConfigReader
from refrain.exporters.architectures.decoder import Decoder, Layer, Norm
from refrain.exporters.architectures.llama import LLAMA, read_llama_decoder, read_llama_layer
from refrain.exporters.architectures.rotary import scale_rotary
from refrain.exporters.architectures.tensor_reader import TensorReader
from refrain.exporters.architectures.windows import no_windows, windows_between_full_layers

GEMMA = LLAMA | {
    "head_dim": 256,
    "hidden_act": "gelu_pytorch_tanh",
    "max_position_embeddings": 8192,
    "num_key_value_heads": 16,
    "tie_word_embeddings": True,
}
GEMMA2 = GEMMA | {
    "attn_logit_softcapping": 50.0,
    "final_logit_softcapping": 30.0,
    "hidden_activation": "gelu_pytorch_tanh",
    "num_key_value_heads": 4,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
}
GEMMA3 = GEMMA2 | {
    "final_logit_softcapping": None,
    "max_position_embeddings": 131072,
    "rope_local_base_freq": 10000.0,
    "rope_theta": 1000000.0,
    "sliding_window_pattern": 6,
}

NORMS = ("before_attention", "q_norm", "k_norm", "after_attention", "before_mlp", "after_mlp")


def read_gemma(config: ConfigReader, tensors: TensorReader) -> Decoder:
    """Gemma (arXiv:2403.08295)."""
    config.assume(**GEMMA)
    config.take("hidden_activation", None)  # the modelling code reads hidden_act
    return scale_to_gemma(config, read_llama_decoder(config, tensors, no_windows))


def read_gemma2(config: ConfigReader, tensors: TensorReader) -> Decoder:
    """Gemma 2 (arXiv:2408.00118): norms on both sides of a block, every other layer with a window, scores bent."""
    config.assume(**GEMMA2)
    decoder = read_llama_decoder(config, tensors, windows_between_full_layers(2), read_gemma2_layer)
    return replace(
        scale_to_gemma(config, decoder),
        scale=config.take("query_pre_attn_scalar") ** -0.5,
        activation=config.activation("hidden_activation"),
        attention_softcap=config.take("attn_logit_softcapping") or 0.0,
        logit_softcap=config.take("final_logit_softcapping") or 0.0,
    )


def read_gemma3(config: ConfigReader, tensors: TensorReader) -> Decoder:
    """Gemma 3 (arXiv:2503.19786): two rotary bases, most layers with a window."""
    config.assume(**GEMMA3)
    config.expect("use_bidirectional_attention", False)
    pattern = config.take("sliding_window_pattern")
    decoder = read_llama_decoder(config, tensors, windows_between_full_layers(pattern), read_gemma3_layer)
    local = scale_rotary(config.take("rope_local_base_freq"), decoder.head_dim)
    decoder = scale_to_gemma(config, decoder)

    def read_layer(i: int) -> Layer:
        layer = decoder.read_layer(i)
        return layer if layer.window is None else replace(layer, rotary=local)

    return replace(
        decoder,
        scale=config.take("query_pre_attn_scalar") ** -0.5,
        activation=config.activation("hidden_activation"),
        logit_softcap=config.take("final_logit_softcapping") or 0.0,
        read_layer=read_layer,
    )


def read_gemma2_layer(tensors: TensorReader, prefix: str) -> Layer:
    """Llama's layer with two norms more, and with the name of one for another."""
    return replace(
        read_llama_layer(tensors, prefix),
        after_attention=tensors.norm(f"{prefix}post_attention_layernorm"),
        before_mlp=tensors.norm(f"{prefix}pre_feedforward_layernorm"),
        after_mlp=tensors.norm(f"{prefix}post_feedforward_layernorm"),
    )


def read_gemma3_layer(tensors: TensorReader, prefix: str) -> Layer:
    """Gemma 2's layer with norms of the heads of queries and keys."""
    q_norm, k_norm = (tensors.norm(f"{prefix}self_attn.{name}_norm") for name in "qk")
    return replace(read_gemma2_layer(tensors, prefix), q_norm=q_norm, k_norm=k_norm)


def scale_to_gemma(config: ConfigReader, decoder: Decoder) -> Decoder:
    """What is stored in another scale, in that which the graph wants."""

    def read_layer(i: int) -> Layer:
        layer = decoder.read_layer(i)
        norms: dict[str, Any] = {name: add_one(norm) for name in NORMS if (norm := getattr(layer, name)) is not None}
        return replace(layer, **norms)

    return replace(
        decoder,
        embedding_scale=config.take("hidden_size") ** 0.5,
        final_norm=add_one(decoder.final_norm),
        read_layer=read_layer,
    )


def add_one(norm: Norm) -> Norm:
    return Norm(norm.weight + 1)
