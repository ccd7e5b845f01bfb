"""Families of models that the compact graph can draw: from config.json and tensors to a Decoder.

A family is one file, one function in it, and its name in FAMILIES. The function takes every field of config.json that
has a meaning; whatever it did not take, and ignored_fields does not know, is refused by name, and so is every tensor
that it did not read.
"""

import json
from collections.abc import Callable
from pathlib import Path

from refrain.exporters.architectures import heads, shapes
from refrain.exporters.architectures.cohere import read_cohere
from refrain.exporters.architectures.config_reader import ConfigReader
from refrain.exporters.architectures.decoder import Decoder
from refrain.exporters.architectures.gemma import read_gemma, read_gemma2, read_gemma3
from refrain.exporters.architectures.gpt2 import read_gpt2
from refrain.exporters.architectures.gpt_neo import read_gpt_neo
from refrain.exporters.architectures.gpt_neox import read_gpt_neox
from refrain.exporters.architectures.granite import read_granite
from refrain.exporters.architectures.llama import read_llama, read_mistral
from refrain.exporters.architectures.olmo2 import read_olmo2
from refrain.exporters.architectures.opt import read_opt
from refrain.exporters.architectures.phi import read_phi, read_phi3
from refrain.exporters.architectures.qwen import read_qwen2, read_qwen3
from refrain.exporters.architectures.smollm3 import read_smollm3
from refrain.exporters.architectures.stablelm import read_stablelm
from refrain.exporters.architectures.starcoder2 import read_starcoder2
from refrain.exporters.architectures.tensor_reader import TensorReader

FAMILIES: dict[str, Callable[[ConfigReader, TensorReader], Decoder]] = {
    "llama": read_llama,
    "mistral": read_mistral,
    "ministral": read_mistral,
    "qwen2": read_qwen2,
    "qwen3": read_qwen3,
    "gemma": read_gemma,
    "gemma2": read_gemma2,
    "gemma3_text": read_gemma3,
    "phi": read_phi,
    "phi3": read_phi3,
    "granite": read_granite,
    "olmo2": read_olmo2,
    "stablelm": read_stablelm,
    "smollm3": read_smollm3,
    "starcoder2": read_starcoder2,
    "cohere": read_cohere,
    "gpt2": read_gpt2,
    "gpt_neo": read_gpt_neo,
    "gpt_neox": read_gpt_neox,
    "opt": read_opt,
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
    shapes.require_tables(decoder, vocabulary)
    return decoder, tensors


def require_drawable(folder: Path) -> None:
    """ValueError unless the model in a folder can be drawn whole; only config.json and headers are read."""
    decoder, tensors = read_decoder(folder, headers_only=True)
    for i in range(decoder.layers):
        layer = decoder.read_layer(i)
        shapes.require_layer(decoder, layer, i)
        heads.require_fitting(decoder, layer)
    tensors.require_all_read()
