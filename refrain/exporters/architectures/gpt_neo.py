"""GPT-Neo."""

from refrain.exporters.architectures.config_reader import ConfigReader
from refrain.exporters.architectures.decoder import Decoder, Layer
from refrain.exporters.architectures.tensor_reader import TensorReader


def read_gpt_neo(config: ConfigReader, tensors: TensorReader) -> Decoder:
    """GPT-Neo and TinyStories (arXiv:2305.07759): scores are not scaled, layers with a window between those without."""
    config.assume(activation_function="gelu_new", layer_norm_epsilon=1e-5, tie_word_embeddings=True, window_size=256)
    config.take("intermediate_size", None)  # the weights say it
    heads, context = config.take("num_heads"), config.take("max_position_embeddings")
    kinds = [kind for kinds, times in config.take("attention_types") for _ in range(times) for kind in kinds]
    if config.take("attention_layers", kinds) != kinds or set(kinds) - {"global", "local"}:
        raise ValueError("config.json: attention_layers are not those of attention_types")
    windows = {"global": None, "local": config.take("window_size")}
    return Decoder(
        heads=heads,
        kv_heads=heads,
        head_dim=config.take("hidden_size") // heads,
        layers=config.take("num_layers"),
        context=context,
        epsilon=config.take("layer_norm_epsilon"),
        scale=1.0,
        activation=config.activation("activation_function"),
        gated=False,
        embedding=(embedding := tensors.read("transformer.wte.weight")),
        embedding_scale=1.0,
        position_embedding=tensors.read("transformer.wpe.weight"),
        read_layer=lambda i: read_gpt_neo_layer(tensors, f"transformer.h.{i}.", windows[kinds[i]]),
        final_norm=tensors.norm("transformer.ln_f"),
        lm_head=tensors.lm_head(embedding, config.take("tie_word_embeddings")),
    )


def read_gpt_neo_layer(tensors: TensorReader, prefix: str, window: int | None) -> Layer:
    attention = f"{prefix}attn.attention."
    return Layer(
        before_attention=tensors.norm(f"{prefix}ln_1"),
        qkv=tensors.linear(*(f"{attention}{name}_proj" for name in "qkv")),
        out=tensors.linear(f"{attention}out_proj"),
        before_mlp=tensors.norm(f"{prefix}ln_2"),
        up=tensors.linear(f"{prefix}mlp.c_fc"),
        down=tensors.linear(f"{prefix}mlp.c_proj"),
        window=window,
    )
