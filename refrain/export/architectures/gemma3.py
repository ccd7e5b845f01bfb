"""Gemma 3, the text model."""

from refrain.export.architectures.config_reader import ConfigReader
from refrain.export.architectures.decoder import Array, Decoder, Layer, Norm
from refrain.export.architectures.rotary import rotary_frequencies
from refrain.export.architectures.tensor_reader import TensorReader
from refrain.export.architectures.windows import windows_between_full_layers

GEMMA3 = {
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "max_position_embeddings": 131072,
    "query_pre_attn_scalar": 256,
    "rms_norm_eps": 1e-6,
    "rope_local_base_freq": 10000.0,
    "rope_theta": 1000000.0,
    "sliding_window": 4096,
    "sliding_window_pattern": 6,
    "tie_word_embeddings": True,
}


def read_gemma3(config: ConfigReader, tensors: TensorReader) -> Decoder:
    """Gemma 3 (arXiv:2503.19786): norms on both sides of a block, two rotary bases, most layers with a window."""
    config.assume(**GEMMA3)
    hidden, layers, head_dim = config.take("hidden_size"), config.take("num_hidden_layers"), config.take("head_dim")
    config.take("intermediate_size", None)  # the weights say it
    config.expect("attention_bias", False)
    config.expect("use_bidirectional_attention", False)
    windows = windows_between_full_layers(config, layers, config.take("sliding_window_pattern"))
    scaling, base = config.take("rope_scaling", None), config.take("rope_theta")
    global_frequencies = rotary_frequencies(base, head_dim, scaling)
    local_frequencies = rotary_frequencies(config.take("rope_local_base_freq"), head_dim, None)

    def read_layer(i: int) -> Layer:
        frequencies = global_frequencies if windows[i] is None else local_frequencies
        return read_gemma3_layer(tensors, f"model.layers.{i}.", frequencies, windows[i])

    return Decoder(
        heads=config.take("num_attention_heads"),
        kv_heads=config.take("num_key_value_heads"),
        head_dim=head_dim,
        layers=layers,
        context=config.take("max_position_embeddings"),
        epsilon=config.take("rms_norm_eps"),
        scale=config.take("query_pre_attn_scalar") ** -0.5,
        activation=config.activation("hidden_activation"),
        gated=True,
        embedding=(embedding := tensors.read("model.embed_tokens.weight")),
        embedding_scale=hidden**0.5,
        position_embedding=None,
        read_layer=read_layer,
        final_norm=read_norm(tensors, "model.norm"),
        lm_head=tensors.lm_head(embedding, config.take("tie_word_embeddings")),
    )


def read_gemma3_layer(tensors: TensorReader, prefix: str, frequencies: Array, window: int | None) -> Layer:
    attention, mlp = f"{prefix}self_attn.", f"{prefix}mlp."
    return Layer(
        before_attention=read_norm(tensors, f"{prefix}input_layernorm"),
        qkv=tensors.linear(*(f"{attention}{name}_proj" for name in "qkv")),
        q_norm=read_norm(tensors, f"{attention}q_norm"),
        k_norm=read_norm(tensors, f"{attention}k_norm"),
        out=tensors.linear(f"{attention}o_proj"),
        after_attention=read_norm(tensors, f"{prefix}post_attention_layernorm"),
        before_mlp=read_norm(tensors, f"{prefix}pre_feedforward_layernorm"),
        up=tensors.linear(f"{mlp}gate_proj", f"{mlp}up_proj"),
        down=tensors.linear(f"{mlp}down_proj"),
        after_mlp=read_norm(tensors, f"{prefix}post_feedforward_layernorm"),
        frequencies=frequencies,
        window=window,
    )


def read_norm(tensors: TensorReader, name: str) -> Norm:
    """A norm whose weights are stored as their difference from one."""
    return Norm(tensors.read(f"{name}.weight") + 1)
