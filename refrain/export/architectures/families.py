"""Families of models that the compact graph can draw: from config.json and tensors to a Decoder.

A family is one file, one function in it, and its name in FAMILIES. The function takes every field of config.json that
has a meaning; whatever it did not take, and IGNORED_FIELDS does not list, is refused by name, and so is every tensor
that it did not read.
"""

import json
from collections.abc import Callable
from pathlib import Path

from refrain.export.architectures.decoder import Decoder
from refrain.export.architectures.gemma3 import read_gemma3
from refrain.export.architectures.gpt2 import read_gpt2
from refrain.export.architectures.llama import read_llama
from refrain.export.architectures.model_files import ConfigReader, TensorReader

FAMILIES: dict[str, Callable[[ConfigReader, TensorReader], Decoder]] = {
    "llama": read_llama,
    "mistral": read_llama,
    "qwen2": read_llama,
    "qwen3": read_llama,
    "gemma3_text": read_gemma3,
    "gpt2": read_gpt2,
}


def read_decoder(folder: Path) -> tuple[Decoder, TensorReader]:
    """The decoder in a model folder and its tensors; ValueError for a family or a field that has no place here."""
    config = ConfigReader(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    read_family = FAMILIES.get(name := config.take("model_type"))
    if read_family is None:
        raise ValueError(f"config.json: model_type={name} is no family of the compact graph: {', '.join(FAMILIES)}")
    tensors = TensorReader(folder)
    decoder = read_family(config, tensors)
    config.require_all_read()
    return decoder, tensors


def require_drawable(folder: Path) -> None:
    """ValueError unless the model in a folder can be drawn whole: no field and no tensor left over."""
    decoder, tensors = read_decoder(folder)
    for i in range(decoder.layers):
        decoder.read_layer(i)
    tensors.require_all_read()
