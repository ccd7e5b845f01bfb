"""GPT-2 and its family."""

from refrain.exporters.architectures.config_reader import ConfigReader
from refrain.exporters.architectures.decoder import Decoder, Layer, Linear
from refrain.exporters.architectures.tensor_reader import TensorReader


def read_gpt2(config: ConfigReader, tensors: TensorReader) -> Decoder:
    """GPT-2 and DistilGPT-2: learned positions, biases everywhere, weights stored as [in, out]."""
    config.assume(activation_function="gelu_new", layer_norm_epsilon=1e-5, tie_word_embeddings=True)
    config.take("n_inner", None)  # the weights say it
    config.expect("scale_attn_weights", True)
    config.expect("scale_attn_by_inverse_layer_idx", False)
    config.expect("add_cross_attention", False)
    heads, head_dim = config.take("n_head"), config.take("n_embd") // config.take("n_head")
    return Decoder(
        heads=heads,
        kv_heads=heads,
        head_dim=head_dim,
        layers=config.take("n_layer"),
        context=config.take("n_positions"),
        epsilon=config.take("layer_norm_epsilon"),
        scale=head_dim**-0.5,
        activation=config.activation("activation_function"),
        gated=False,
        embedding=(embedding := tensors.read("transformer.wte.weight")),
        embedding_scale=1.0,
        position_embedding=tensors.read("transformer.wpe.weight"),
        read_layer=lambda i: read_gpt2_layer(tensors, f"transformer.h.{i}."),
        final_norm=tensors.norm("transformer.ln_f"),
        lm_head=tensors.lm_head(embedding, config.take("tie_word_embeddings")),
    )


def read_gpt2_layer(tensors: TensorReader, prefix: str) -> Layer:
    def linear(name: str) -> Linear:
        return Linear(tensors.read(f"{prefix}{name}.weight").T, tensors.read(f"{prefix}{name}.bias"))

    return Layer(
        before_attention=tensors.norm(f"{prefix}ln_1"),
        qkv=linear("attn.c_attn"),
        out=linear("attn.c_proj"),
        before_mlp=tensors.norm(f"{prefix}ln_2"),
        up=linear("mlp.c_fc"),
        down=linear("mlp.c_proj"),
    )
