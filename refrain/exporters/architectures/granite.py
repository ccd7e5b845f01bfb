"""Granite: Llama with four multipliers."""

from dataclasses import replace

from refrain.exporters.architectures.config_reader import ConfigReader
from refrain.exporters.architectures.decoder import Decoder, Layer, Linear, Norm
from refrain.exporters.architectures.llama import LLAMA, read_llama_decoder
from refrain.exporters.architectures.tensor_reader import TensorReader
from refrain.exporters.architectures.windows import no_windows

GRANITE = LLAMA | dict.fromkeys(
    ("embedding_multiplier", "attention_multiplier", "residual_multiplier", "logits_scaling"), 1.0
)


def read_granite(config: ConfigReader, tensors: TensorReader) -> Decoder:
    """Granite 3 (arXiv:2408.13359): what multiplies a matrix's output is folded into the matrix."""
    config.assume(**GRANITE)
    decoder = read_llama_decoder(config, tensors, no_windows)
    residual = config.take("residual_multiplier")

    def read_layer(i: int) -> Layer:
        layer = decoder.read_layer(i)
        return replace(layer, out=multiply(layer.out, residual), down=multiply(layer.down, residual))

    return replace(
        decoder,
        embedding_scale=config.take("embedding_multiplier"),
        scale=config.take("attention_multiplier"),
        final_norm=Norm(decoder.final_norm.weight / config.take("logits_scaling")),
        read_layer=read_layer,
    )


def multiply(layer: Linear, factor: float) -> Linear:
    return Linear(layer.weight * factor, None if layer.bias is None else layer.bias * factor)
