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
from refrain.export.architectures.model_files import Fields, Weights


def read(folder: Path) -> tuple[Decoder, Weights]:
    """The decoder in a model folder and its weights; ValueError for a family or a field that has no place here."""
    fields = Fields(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    family = FAMILIES.get(name := fields.take("model_type"))
    if family is None:
        raise ValueError(f"config.json: model_type={name} is no family of the compact graph: {', '.join(FAMILIES)}")
    weights = Weights(folder)
    decoder = family(fields, weights)
    fields.end()
    return decoder, weights


def check(folder: Path) -> None:
    """ValueError unless the model in a folder can be drawn whole: no field and no weight left over."""
    decoder, weights = read(folder)
    for i in range(decoder.layers):
        decoder.layer(i)
    weights.end()


FAMILIES: dict[str, Callable[[Fields, Weights], Decoder]] = {
    "llama": llama,
    "mistral": llama,
    "qwen2": llama,
    "qwen3": llama,
    "gemma3_text": gemma3,
    "gpt2": gpt2,
}
