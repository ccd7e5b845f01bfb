"""SmolLM3."""

from dataclasses import replace

from refrain.exporters.architectures.config_reader import ConfigReader
from refrain.exporters.architectures.decoder import Decoder, Layer
from refrain.exporters.architectures.llama import LLAMA, read_llama_decoder
from refrain.exporters.architectures.tensor_reader import TensorReader
from refrain.exporters.architectures.windows import FULL, SLIDING, Windows, windows_of_types

SMOLLM3 = LLAMA | {
    "max_position_embeddings": 32768,
    "no_rope_layer_interval": 4,
    "no_rope_layers": None,
    "num_key_value_heads": 4,
    "rope_theta": 2000000.0,
    "sliding_window": None,
    "tie_word_embeddings": True,
    "use_sliding_window": False,
}


def read_smollm3(config: ConfigReader, tensors: TensorReader) -> Decoder:
    """Llama with layers, by default every fourth, that know no positions (arXiv:2501.18795)."""
    config.assume(**SMOLLM3)
    layers, interval = config.take("num_hidden_layers"), config.take("no_rope_layer_interval")
    turns = config.take("no_rope_layers") or [(i + 1) % interval != 0 for i in range(layers)]  # 1: it does turn

    def read_windows(config: ConfigReader, layers: int) -> Windows:
        width = config.take("sliding_window") if config.take("use_sliding_window") else None
        return windows_of_types(config, width, [FULL if width is None or turn else SLIDING for turn in turns])

    decoder = read_llama_decoder(config, tensors, read_windows)

    def read_layer(i: int) -> Layer:
        layer = decoder.read_layer(i)
        return layer if turns[i] else replace(layer, rotary=None)

    return replace(decoder, read_layer=read_layer)
