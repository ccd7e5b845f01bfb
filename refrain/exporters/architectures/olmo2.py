"""OLMo 2."""

from refrain.exporters.architectures.config_reader import ConfigReader
from refrain.exporters.architectures.decoder import Decoder, Layer
from refrain.exporters.architectures.llama import LLAMA, read_llama_decoder
from refrain.exporters.architectures.tensor_reader import TensorReader
from refrain.exporters.architectures.windows import no_windows

OLMO2 = LLAMA | {"rms_norm_eps": 1e-5}


def read_olmo2(config: ConfigReader, tensors: TensorReader) -> Decoder:
    """OLMo 2 (arXiv:2501.00656): norms after a block and none before it, queries and keys normed whole."""
    config.assume(**OLMO2)
    return read_llama_decoder(config, tensors, no_windows, read_olmo2_layer)


def read_olmo2_layer(tensors: TensorReader, prefix: str) -> Layer:
    attention, mlp = f"{prefix}self_attn.", f"{prefix}mlp."
    return Layer(
        before_attention=None,
        qkv=tensors.linear(*(f"{attention}{name}_proj" for name in "qkv")),
        q_norm=tensors.norm(f"{attention}q_norm"),
        k_norm=tensors.norm(f"{attention}k_norm"),
        out=tensors.linear(f"{attention}o_proj"),
        after_attention=tensors.norm(f"{prefix}post_attention_layernorm"),
        before_mlp=None,
        up=tensors.linear(f"{mlp}gate_proj", f"{mlp}up_proj"),
        down=tensors.linear(f"{mlp}down_proj"),
        after_mlp=tensors.norm(f"{prefix}post_feedforward_layernorm"),
    )
