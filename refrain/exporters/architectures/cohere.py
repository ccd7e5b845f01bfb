"""Cohere's Command R."""

from dataclasses import replace

import numpy as np

from refrain.exporters.architectures.config_reader import ConfigReader
from refrain.exporters.architectures.decoder import Decoder, Layer, Norm
from refrain.exporters.architectures.llama import LLAMA, read_llama_decoder
from refrain.exporters.architectures.stablelm import read_one_norm_layer
from refrain.exporters.architectures.tensor_reader import TensorReader
from refrain.exporters.architectures.windows import no_windows

COHERE = LLAMA | {
    "layer_norm_eps": 1e-5,
    "logit_scale": 0.0625,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
    "use_qk_norm": False,
}


def read_cohere(config: ConfigReader, tensors: TensorReader) -> Decoder:
    """Command R: parallel residuals with one layer norm without bias, pairs that turn are neighbours."""
    config.assume(**COHERE)
    config.expect("use_qk_norm", False)
    decoder = read_llama_decoder(config, tensors, no_windows, read_cohere_layer, "layer_norm_eps")

    def read_layer(i: int) -> Layer:
        layer = decoder.read_layer(i)
        return replace(layer, rotary=layer.rotary and replace(layer.rotary, is_interleaved=True))

    scale = config.take("logit_scale")  # folded into the last norm
    final_norm = centre(Norm(decoder.final_norm.weight * scale))
    return replace(decoder, final_norm=final_norm, is_parallel=True, read_layer=read_layer)


def read_cohere_layer(tensors: TensorReader, prefix: str) -> Layer:
    layer = read_one_norm_layer(tensors, prefix)
    return replace(layer, before_attention=layer.before_attention and centre(layer.before_attention))


def centre(norm: Norm) -> Norm:
    """A layer norm of a norm that is stored without a bias."""
    return Norm(norm.weight, np.zeros_like(norm.weight))
