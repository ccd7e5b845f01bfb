"""Qwen 2, 2.5 and 3."""

from refrain.exporters.architectures.config_reader import ConfigReader
from refrain.exporters.architectures.decoder import Decoder
from refrain.exporters.architectures.llama import LLAMA, read_llama_decoder, read_llama_layer_with_head_norms
from refrain.exporters.architectures.tensor_reader import TensorReader
from refrain.exporters.architectures.windows import windows_of_upper_layers

QWEN = LLAMA | {
    "max_position_embeddings": 32768,
    "max_window_layers": 28,
    "num_key_value_heads": 32,
    "sliding_window": 4096,
    "use_sliding_window": False,
}


def read_qwen2(config: ConfigReader, tensors: TensorReader) -> Decoder:
    """Qwen 2 and 2.5 (arXiv:2412.15115): biases of queries, keys and values."""
    config.assume(**QWEN)
    config.expect("use_mrope", False)
    return read_llama_decoder(config, tensors, windows_of_upper_layers)


def read_qwen3(config: ConfigReader, tensors: TensorReader) -> Decoder:
    """Qwen 3 (arXiv:2505.09388): norms of the heads of queries and keys."""
    config.assume(**QWEN, head_dim=128)
    return read_llama_decoder(config, tensors, windows_of_upper_layers, read_llama_layer_with_head_norms)
