"""Phi: a parallel decoder with one norm (1 to 2), and Llama with fused matrices (3 and 4)."""

from dataclasses import replace

from refrain.exporters.architectures.config_reader import ConfigReader
from refrain.exporters.architectures.decoder import Decoder, Layer
from refrain.exporters.architectures.llama import LLAMA, read_llama_decoder
from refrain.exporters.architectures.rotary import read_rotary
from refrain.exporters.architectures.tensor_reader import TensorReader
from refrain.exporters.architectures.windows import no_windows, window_of_every_layer

PHI = LLAMA | {"hidden_act": "gelu_new", "layer_norm_eps": 1e-5, "partial_rotary_factor": 0.5}
PHI3 = LLAMA | {
    "max_position_embeddings": 4096,
    "partial_rotary_factor": 1.0,
    "rms_norm_eps": 1e-5,
    "sliding_window": None,
}


def read_phi3(config: ConfigReader, tensors: TensorReader) -> Decoder:
    """Phi-3 and Phi-4 (arXiv:2404.14219, arXiv:2412.08905)."""
    config.assume(**PHI3)
    config.take("original_max_position_embeddings", None)  # of rope_scaling
    return read_llama_decoder(config, tensors, window_of_every_layer, read_phi3_layer)


def read_phi3_layer(tensors: TensorReader, prefix: str) -> Layer:
    return Layer(
        before_attention=tensors.norm(f"{prefix}input_layernorm"),
        qkv=tensors.linear(f"{prefix}self_attn.qkv_proj"),
        out=tensors.linear(f"{prefix}self_attn.o_proj"),
        before_mlp=tensors.norm(f"{prefix}post_attention_layernorm"),
        up=tensors.linear(f"{prefix}mlp.gate_up_proj"),
        down=tensors.linear(f"{prefix}mlp.down_proj"),
    )


def read_phi(config: ConfigReader, tensors: TensorReader) -> Decoder:
    """Phi-1, Phi-1.5 (arXiv:2309.05463) and Phi-2."""
    config.assume(**PHI)
    config.expect("qk_layernorm", False)
    no_windows(config, layers := config.take("num_hidden_layers"))
    config.take("intermediate_size", None)  # the weights say it
    heads = config.take("num_attention_heads")
    head_dim = config.take("head_dim", None) or config.take("hidden_size") // heads
    rotary = read_rotary(config, head_dim)
    return Decoder(
        heads=heads,
        kv_heads=config.take("num_key_value_heads") or heads,
        head_dim=head_dim,
        layers=layers,
        context=config.take("max_position_embeddings"),
        epsilon=config.take("layer_norm_eps"),
        scale=head_dim**-0.5,
        activation=config.activation("hidden_act"),
        gated=False,
        embedding=(embedding := tensors.read("model.embed_tokens.weight")),
        embedding_scale=1.0,
        position_embedding=None,
        read_layer=lambda i: replace(read_phi_layer(tensors, f"model.layers.{i}."), rotary=rotary),
        final_norm=tensors.norm("model.final_layernorm"),
        lm_head=tensors.lm_head(embedding, config.take("tie_word_embeddings")),
        is_parallel=True,
    )


def read_phi_layer(tensors: TensorReader, prefix: str) -> Layer:
    return Layer(
        before_attention=tensors.norm(f"{prefix}input_layernorm"),
        qkv=tensors.linear(*(f"{prefix}self_attn.{name}_proj" for name in "qkv")),
        out=tensors.linear(f"{prefix}self_attn.dense"),
        before_mlp=None,
        up=tensors.linear(f"{prefix}mlp.fc1"),
        down=tensors.linear(f"{prefix}mlp.fc2"),
    )
