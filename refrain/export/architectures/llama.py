"""Llama, and the families that differ from it in their fields only."""

from refrain.export.architectures.decoder import Array, Decoder, Layer
from refrain.export.architectures.model_files import ConfigReader, TensorReader
from refrain.export.architectures.rotary import rotary_frequencies


def read_llama(config: ConfigReader, tensors: TensorReader) -> Decoder:
    """Llama, and what differs from it in its fields only: SmolLM2, Mistral, Qwen2, Qwen3."""
    hidden, heads = config.take("hidden_size"), config.take("num_attention_heads")
    config.take("intermediate_size")  # the weights say it, as what follows
    config.take("attention_bias", False)
    config.take("mlp_bias", False)
    config.take("vocab_size")
    config.take("tie_word_embeddings", False)
    config.expect("partial_rotary_factor", 1.0)
    head_dim = config.take("head_dim", None) or hidden // heads
    layers = config.take("num_hidden_layers")
    frequencies = rotary_frequencies(config.take("rope_theta", 10000.0), head_dim, config.take("rope_scaling", None))
    windows = config.windows(layers)
    return Decoder(
        heads=heads,
        kv_heads=config.take("num_key_value_heads", None) or heads,
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
        lm_head=tensors.lm_head(embedding),
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
