"""GPT-NeoX and Pythia."""

from refrain.exporters.architectures.config_reader import ConfigReader
from refrain.exporters.architectures.decoder import Array, Decoder, Layer, Linear, Rotary
from refrain.exporters.architectures.rotary import scale_rotary
from refrain.exporters.architectures.tensor_reader import TensorReader

GPT_NEOX = {
    "attention_bias": True,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "max_position_embeddings": 2048,
    "rotary_emb_base": 10000,
    "rotary_pct": 0.25,
    "tie_word_embeddings": False,
    "use_parallel_residual": True,
}


def read_gpt_neox(config: ConfigReader, tensors: TensorReader) -> Decoder:
    """GPT-NeoX (arXiv:2204.06745): biases everywhere, a part of a head turns, parallel residuals with a norm each."""
    config.assume(**GPT_NEOX)
    for name in ("intermediate_size", "attention_bias", "partial_rotary_factor", "rope_theta"):
        config.take(name, None)  # the weights say it, or rotary_pct and rotary_emb_base
    heads, context = config.take("num_attention_heads"), config.take("max_position_embeddings")
    head_dim = config.take("hidden_size") // heads
    width, scaling = int(head_dim * config.take("rotary_pct")), config.take("rope_scaling", None)
    rotary = scale_rotary(config.take("rotary_emb_base"), width, scaling, context)
    return Decoder(
        heads=heads,
        kv_heads=heads,
        head_dim=head_dim,
        layers=config.take("num_hidden_layers"),
        context=context,
        epsilon=config.take("layer_norm_eps"),
        scale=head_dim**-0.5,
        activation=config.activation("hidden_act"),
        gated=False,
        embedding=(embedding := tensors.read("gpt_neox.embed_in.weight")),
        embedding_scale=1.0,
        position_embedding=None,
        read_layer=lambda i: read_gpt_neox_layer(tensors, f"gpt_neox.layers.{i}.", heads, rotary),
        final_norm=tensors.norm("gpt_neox.final_layer_norm"),
        lm_head=tensors.lm_head(embedding, config.take("tie_word_embeddings"), "embed_out"),
        is_parallel=config.take("use_parallel_residual"),
    )


def read_gpt_neox_layer(tensors: TensorReader, prefix: str, heads: int, rotary: Rotary) -> Layer:
    fused = tensors.linear(f"{prefix}attention.query_key_value")
    return Layer(
        before_attention=tensors.norm(f"{prefix}input_layernorm"),
        qkv=Linear(split_heads(fused.weight, heads), None if fused.bias is None else split_heads(fused.bias, heads)),
        out=tensors.linear(f"{prefix}attention.dense"),
        before_mlp=tensors.norm(f"{prefix}post_attention_layernorm"),
        up=tensors.linear(f"{prefix}mlp.dense_h_to_4h"),
        down=tensors.linear(f"{prefix}mlp.dense_4h_to_h"),
        rotary=rotary,
    )


def split_heads(fused: Array, heads: int) -> Array:
    """Queries, keys and values of one head after the other, as the queries of all heads, then the keys, the values."""
    return fused.reshape(heads, 3, -1, *fused.shape[1:]).swapaxes(0, 1).reshape(fused.shape)
