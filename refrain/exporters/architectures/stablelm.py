"""StableLM."""

from dataclasses import replace

from refrain.exporters.architectures.config_reader import ConfigReader
from refrain.exporters.architectures.decoder import Decoder, Layer
from refrain.exporters.architectures.llama import LLAMA, read_llama_decoder, read_llama_layer
from refrain.exporters.architectures.tensor_reader import TensorReader
from refrain.exporters.architectures.windows import no_windows

STABLELM = LLAMA | {
    "layer_norm_eps": 1e-5,
    "max_position_embeddings": 4096,
    "num_key_value_heads": 32,
    "partial_rotary_factor": 0.25,
    "use_parallel_residual": False,
}


def read_stablelm(config: ConfigReader, tensors: TensorReader) -> Decoder:
    """StableLM 2 (arXiv:2402.17834): layer norms, a part of each head turns, or parallel residuals with one norm."""
    config.assume(**STABLELM)
    config.expect("qk_layernorm", False)
    config.take("use_qkv_bias", None)  # the weights say it
    is_parallel = config.take("use_parallel_residual")
    decoder = read_llama_decoder(
        config, tensors, no_windows, read_one_norm_layer if is_parallel else read_llama_layer, "layer_norm_eps"
    )
    return replace(decoder, is_parallel=is_parallel)


def read_one_norm_layer(tensors: TensorReader, prefix: str) -> Layer:
    """A parallel block: attention and the feed-forward net read what one norm gives."""
    attention, mlp = f"{prefix}self_attn.", f"{prefix}mlp."
    return Layer(
        before_attention=tensors.norm(f"{prefix}input_layernorm"),
        qkv=tensors.linear(*(f"{attention}{name}_proj" for name in "qkv")),
        out=tensors.linear(f"{attention}o_proj"),
        before_mlp=None,
        up=tensors.linear(f"{mlp}gate_proj", f"{mlp}up_proj"),
        down=tensors.linear(f"{mlp}down_proj"),
    )
