"""Families of models that the compact graph can draw: from config.json and weights to a Decoder.

A family is one function here and its name in FAMILIES. It takes every field of config.json that has a meaning; whatever
it did not take, and fields.MUTE does not list, is refused by name, and so is every weight that it did not read.
"""

import json
from collections.abc import Callable
from pathlib import Path

from refrain.export.architectures.decoder import Decoder
from refrain.export.architectures.gemma3 import gemma3
from refrain.export.architectures.gpt2 import gpt2
from refrain.export.architectures.llama import llama
from refrain.export.architectures.model_files import ConfigReader, TensorReader


def read_decoder(folder: Path) -> tuple[Decoder, TensorReader]:
    """The decoder in a model folder and its weights; ValueError for a family or a field that has no place here."""
    fields = ConfigReader(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    family = FAMILIES.get(name := fields.take("model_type"))
    if family is None:
        raise ValueError(f"config.json: model_type={name} is no family of the compact graph: {', '.join(FAMILIES)}")
    weights = TensorReader(folder)
    decoder = family(fields, weights)
    fields.require_all_read()
    return decoder, weights


def require_drawable(folder: Path) -> None:
    """ValueError unless the model in a folder can be drawn whole: no field and no weight left over."""
    decoder, weights = read_decoder(folder)
    for i in range(decoder.layers):
        decoder.layer(i)
    weights.require_all_read()


FAMILIES: dict[str, Callable[[ConfigReader, TensorReader], Decoder]] = {
    "llama": llama,
    "mistral": llama,
    "qwen2": llama,
    "qwen3": llama,
    "gemma3_text": gemma3,
    "gpt2": gpt2,
}
