"""Llama, and the families that differ from it in a few fields or a few tensors."""

from collections.abc import Callable
from dataclasses import replace

from refrain.exporters.architectures.config_reader import ConfigReader
from refrain.exporters.architectures.decoder import Decoder, Layer
from refrain.exporters.architectures.rotary import read_rotary
from refrain.exporters.architectures.tensor_reader import TensorReader
from refrain.exporters.architectures.windows import Windows, no_windows, window_of_every_layer, window_of_named_layers

LLAMA = {
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "num_key_value_heads": None,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
}
MISTRAL = LLAMA | {"max_position_embeddings": 131072, "num_key_value_heads": 8, "sliding_window": 4096}


def read_llama(config: ConfigReader, tensors: TensorReader) -> Decoder:
    """Llama and SmolLM2."""
    config.assume(**LLAMA)
    return read_llama_decoder(config, tensors, no_windows)


def read_mistral(config: ConfigReader, tensors: TensorReader) -> Decoder:
    """Mistral, and Ministral, which transformers makes of it where layer_types are there."""
    config.assume(**MISTRAL)
    return read_llama_decoder(
        config, tensors, window_of_named_layers if config.states("layer_types") else window_of_every_layer
    )


def read_llama_layer(tensors: TensorReader, prefix: str) -> Layer:
    """Tensors by Llama's names."""
    attention, mlp = f"{prefix}self_attn.", f"{prefix}mlp."
    return Layer(
        before_attention=tensors.norm(f"{prefix}input_layernorm"),
        qkv=tensors.linear(*(f"{attention}{name}_proj" for name in "qkv")),
        out=tensors.linear(f"{attention}o_proj"),
        before_mlp=tensors.norm(f"{prefix}post_attention_layernorm"),
        up=tensors.linear(f"{mlp}gate_proj", f"{mlp}up_proj"),
        down=tensors.linear(f"{mlp}down_proj"),
    )


def read_llama_layer_with_head_norms(tensors: TensorReader, prefix: str) -> Layer:
    """The same, with a norm of the heads of queries and one of those of keys."""
    q_norm, k_norm = (tensors.norm(f"{prefix}self_attn.{name}_norm") for name in "qk")
    return replace(read_llama_layer(tensors, prefix), q_norm=q_norm, k_norm=k_norm)


def read_llama_decoder(
    config: ConfigReader,
    tensors: TensorReader,
    read_windows: Callable[[ConfigReader, int], Windows],
    read_layer: Callable[[TensorReader, str], Layer] = read_llama_layer,
    epsilon: str = "rms_norm_eps",
) -> Decoder:
    """What Llama and its kin have in common; all layers turn by the same rotary positions."""
    for name in ("intermediate_size", "attention_bias", "mlp_bias"):
        config.take(name, None)  # the weights say it
    hidden, heads = config.take("hidden_size"), config.take("num_attention_heads")
    layers, head_dim = config.take("num_hidden_layers"), config.take("head_dim", None) or hidden // heads
    rotary, windows = read_rotary(config, head_dim), read_windows(config, layers)
    return Decoder(
        heads=heads,
        kv_heads=config.take("num_key_value_heads") or heads,
        head_dim=head_dim,
        layers=layers,
        context=config.take("max_position_embeddings"),
        epsilon=config.take(epsilon),
        scale=head_dim**-0.5,
        activation=config.activation("hidden_act"),
        gated=True,
        embedding=(embedding := tensors.read("model.embed_tokens.weight")),
        embedding_scale=1.0,
        position_embedding=None,
        read_layer=lambda i: replace(read_layer(tensors, f"model.layers.{i}."), rotary=rotary, window=windows[i]),
        final_norm=tensors.norm("model.norm"),
        lm_head=tensors.lm_head(embedding, config.take("tie_word_embeddings")),
    )
