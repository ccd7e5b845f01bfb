"""OPT."""

from refrain.exporters.architectures.config_reader import ConfigReader
from refrain.exporters.architectures.decoder import Decoder, Layer
from refrain.exporters.architectures.tensor_reader import TensorReader

OFFSET = 2  # rows of the table of positions before that of position 0


def read_opt(config: ConfigReader, tensors: TensorReader) -> Decoder:
    """OPT (arXiv:2205.01068), the sizes with a norm before each block: learned positions, biases everywhere."""
    config.assume(activation_function="relu", max_position_embeddings=2048, tie_word_embeddings=True)
    config.take("ffn_dim", None)  # the weights say it
    for name, only in (
        ("do_layer_norm_before", True),
        ("_remove_final_layer_norm", False),
        ("enable_bias", True),
        ("layer_norm_elementwise_affine", True),
        ("word_embed_proj_dim", width := config.take("hidden_size")),
    ):
        config.expect(name, only)
    heads = config.take("num_attention_heads")
    return Decoder(
        heads=heads,
        kv_heads=heads,
        head_dim=width // heads,
        layers=config.take("num_hidden_layers"),
        context=config.take("max_position_embeddings"),
        epsilon=1e-5,
        scale=(width // heads) ** -0.5,
        activation=config.activation("activation_function"),
        gated=False,
        embedding=(embedding := tensors.read("model.decoder.embed_tokens.weight")),
        embedding_scale=1.0,
        position_embedding=tensors.read("model.decoder.embed_positions.weight")[OFFSET:],
        read_layer=lambda i: read_opt_layer(tensors, f"model.decoder.layers.{i}."),
        final_norm=tensors.norm("model.decoder.final_layer_norm"),
        lm_head=tensors.lm_head(embedding, config.take("tie_word_embeddings")),
    )


def read_opt_layer(tensors: TensorReader, prefix: str) -> Layer:
    return Layer(
        before_attention=tensors.norm(f"{prefix}self_attn_layer_norm"),
        qkv=tensors.linear(*(f"{prefix}self_attn.{name}_proj" for name in "qkv")),
        out=tensors.linear(f"{prefix}self_attn.out_proj"),
        before_mlp=tensors.norm(f"{prefix}final_layer_norm"),
        up=tensors.linear(f"{prefix}fc1"),
        down=tensors.linear(f"{prefix}fc2"),
    )
