"""Llama, and the families that differ from it in their fields only."""

from collections.abc import Callable

from refrain.export.architectures.config_reader import ConfigReader
from refrain.export.architectures.decoder import Array, Decoder, Layer
from refrain.export.architectures.rotary import rotary_frequencies
from refrain.export.architectures.tensor_reader import TensorReader
from refrain.export.architectures.windows import Windows, no_windows, window_of_every_layer, windows_of_upper_layers

LLAMA = {
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "num_key_value_heads": None,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
}
MISTRAL = LLAMA | {"max_position_embeddings": 131072, "num_key_value_heads": 8, "sliding_window": 4096}
QWEN2 = LLAMA | {
    "max_position_embeddings": 32768,
    "max_window_layers": 28,
    "num_key_value_heads": 32,
    "sliding_window": 4096,
    "use_sliding_window": False,
}


def read_llama(config: ConfigReader, tensors: TensorReader) -> Decoder:
    """Llama and SmolLM2."""
    config.assume(**LLAMA)
    return read_gated_decoder(config, tensors, no_windows)


def read_mistral(config: ConfigReader, tensors: TensorReader) -> Decoder:
    """Mistral."""
    config.assume(**MISTRAL)
    return read_gated_decoder(config, tensors, window_of_every_layer)


def read_qwen2(config: ConfigReader, tensors: TensorReader) -> Decoder:
    """Qwen 2 and 2.5: biases of queries, keys and values."""
    config.assume(**QWEN2)
    return read_gated_decoder(config, tensors, windows_of_upper_layers)


def read_qwen3(config: ConfigReader, tensors: TensorReader) -> Decoder:
    """Qwen 3: norms of queries and keys."""
    config.assume(**QWEN2, head_dim=128)
    return read_gated_decoder(config, tensors, windows_of_upper_layers)


def read_gated_decoder(
    config: ConfigReader, tensors: TensorReader, read_windows: Callable[[ConfigReader, int], Windows]
) -> Decoder:
    """What Llama and its kin have in common."""
    hidden, heads = config.take("hidden_size"), config.take("num_attention_heads")
    for name in ("intermediate_size", "attention_bias", "mlp_bias"):
        config.take(name, None)  # the weights say it
    config.expect("partial_rotary_factor", 1.0)
    head_dim = config.take("head_dim", None) or hidden // heads
    layers = config.take("num_hidden_layers")
    frequencies = rotary_frequencies(config.take("rope_theta"), head_dim, config.take("rope_scaling", None))
    windows = read_windows(config, layers)
    return Decoder(
        heads=heads,
        kv_heads=config.take("num_key_value_heads") or heads,
        head_dim=head_dim,
        layers=layers,
        context=config.take("max_position_embeddings"),
        epsilon=config.take("rms_norm_eps"),
        scale=head_dim**-0.5,
        activation=config.activation("hidden_act"),
        gated=True,
        embedding=(embedding := tensors.read("model.embed_tokens.weight")),
        embedding_scale=1.0,
        position_embedding=None,
        read_layer=lambda i: read_llama_layer(tensors, f"model.layers.{i}.", frequencies, windows[i]),
        final_norm=tensors.norm("model.norm"),
        lm_head=tensors.lm_head(embedding, config.take("tie_word_embeddings")),
    )


def read_llama_layer(tensors: TensorReader, prefix: str, frequencies: Array, window: int | None) -> Layer:
    attention, mlp = f"{prefix}self_attn.", f"{prefix}mlp."
    return Layer(
        before_attention=tensors.norm(f"{prefix}input_layernorm"),
        qkv=tensors.linear(*(f"{attention}{name}_proj" for name in "qkv")),
        q_norm=tensors.norm(f"{attention}q_norm") if f"{attention}q_norm.weight" in tensors else None,
        k_norm=tensors.norm(f"{attention}k_norm") if f"{attention}k_norm.weight" in tensors else None,
        out=tensors.linear(f"{attention}o_proj"),
        after_attention=None,
        before_mlp=tensors.norm(f"{prefix}post_attention_layernorm"),
        up=tensors.linear(f"{mlp}gate_proj", f"{mlp}up_proj"),
        down=tensors.linear(f"{mlp}down_proj"),
        after_mlp=None,
        frequencies=frequencies,
        window=window,
    )
