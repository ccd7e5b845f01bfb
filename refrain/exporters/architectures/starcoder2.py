"""StarCoder 2."""

from dataclasses import replace

from refrain.exporters.architectures.config_reader import ConfigReader
from refrain.exporters.architectures.decoder import Decoder, Layer
from refrain.exporters.architectures.llama import LLAMA, read_llama_decoder
from refrain.exporters.architectures.tensor_reader import TensorReader
from refrain.exporters.architectures.windows import window_of_every_layer

STARCODER2 = LLAMA | {
    "hidden_act": "gelu_pytorch_tanh",
    "max_position_embeddings": 4096,
    "norm_epsilon": 1e-5,
    "num_key_value_heads": 2,
    "sliding_window": None,
    "tie_word_embeddings": True,
}


def read_starcoder2(config: ConfigReader, tensors: TensorReader) -> Decoder:
    """StarCoder 2 (arXiv:2402.19173): layer norms, biases everywhere, a feed-forward net without a gate."""
    config.assume(**STARCODER2)
    for name in ("use_bias", "activation_function", "layer_norm_epsilon"):
        config.take(name, None)  # the weights say it, hidden_act and norm_epsilon
    for name, only in (("mlp_type", "default"), ("norm_type", "layer_norm"), ("scale_attn_weights", True)):
        config.expect(name, only)
    decoder = read_llama_decoder(config, tensors, window_of_every_layer, read_starcoder2_layer, "norm_epsilon")
    return replace(decoder, gated=False)


def read_starcoder2_layer(tensors: TensorReader, prefix: str) -> Layer:
    return Layer(
        before_attention=tensors.norm(f"{prefix}input_layernorm"),
        qkv=tensors.linear(*(f"{prefix}self_attn.{name}_proj" for name in "qkv")),
        out=tensors.linear(f"{prefix}self_attn.o_proj"),
        before_mlp=tensors.norm(f"{prefix}post_attention_layernorm"),
        up=tensors.linear(f"{prefix}mlp.c_fc"),
        down=tensors.linear(f"{prefix}mlp.c_proj"),
    )
