"""Families of models that the compact graph can draw: from config.json and tensors to a Decoder.

A family is one file, one function in it, and its name in FAMILIES. The function takes every field of config.json that
has a meaning; whatever it did not take, and ignored_fields does not know, is refused by name, and so is every tensor
that it did not read.
"""

import json
from collections.abc import Callable
from pathlib import Path

from refrain.export.architectures import shapes
from refrain.export.architectures.config_reader import ConfigReader
from refrain.export.architectures.decoder import Decoder
from refrain.export.architectures.gemma3 import read_gemma3
from refrain.export.architectures.gpt2 import read_gpt2
from refrain.export.architectures.llama import read_llama, read_mistral, read_qwen2, read_qwen3
from refrain.export.architectures.tensor_reader import TensorReader

FAMILIES: dict[str, Callable[[ConfigReader, TensorReader], Decoder]] = {
    "llama": read_llama,
    "mistral": read_mistral,
    "qwen2": read_qwen2,
    "qwen3": read_qwen3,
    "gemma3_text": read_gemma3,
    "gpt2": read_gpt2,
}


def read_decoder(folder: Path, headers_only: bool = False) -> tuple[Decoder, TensorReader]:
    """The decoder in a model folder and its tensors; ValueError for a family or a field that has no place here."""
    config = ConfigReader(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    read_family = FAMILIES.get(name := config.take("model_type"))
    if read_family is None:
        raise ValueError(f"config.json: model_type={name} is no family of the compact graph: {', '.join(FAMILIES)}")
    vocabulary, tensors = config.take("vocab_size"), TensorReader(folder, headers_only)
    decoder = read_family(config, tensors)
    config.require_all_read()
    shapes.require_head_size(decoder)
    shapes.require_tables(decoder, vocabulary)
    return decoder, tensors


def require_drawable(folder: Path) -> None:
    """ValueError unless the model in a folder can be drawn whole; only config.json and headers are read."""
    decoder, tensors = read_decoder(folder, headers_only=True)
    for i in range(decoder.layers):
        shapes.require_layer(decoder, decoder.read_layer(i), i)
    tensors.require_all_read()
