"""Families of models that the compact graph can draw: from config.json and weights to a Decoder.

A family is one function here and its name in FAMILIES. It takes every field of config.json that has a meaning; whatever
it did not take, and fields.MUTE does not list, is refused by name, and so is every weight that it did not read.
"""

import numpy as np

from refrain.export.architectures.decoder import Linear, Norm
from refrain.export.architectures.model_files import Array, ConfigReader, TensorReader

ACTIVATIONS = {
    "silu": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}


def read_linear(weights: TensorReader, *names: str) -> Linear:
    """Linear layers that read the same input as one; either all of them have a bias or none."""
    biased = f"{names[0]}.bias" in weights
    return Linear(
        np.concatenate([weights.read(f"{name}.weight") for name in names]),
        np.concatenate([weights.read(f"{name}.bias") for name in names]) if biased else None,
    )


def read_gemma_norm(weights: TensorReader, name: str) -> Norm:
    """A norm whose weights are stored as their difference from one."""
    return Norm(weights.read(f"{name}.weight") + 1)


def read_layer_norm(weights: TensorReader, name: str) -> Norm:
    return Norm(weights.read(f"{name}.weight"), weights.read(f"{name}.bias"))


def read_head(weights: TensorReader, table: Array) -> Linear | None:
    """The head, when it is another matrix than the table: its weights tell, config.json may be wrong."""
    if "lm_head.weight" not in weights:
        return None
    own = weights.read("lm_head.weight")
    return (
        None
        if np.array_equal(own, table)
        else Linear(own, weights.read("lm_head.bias") if "lm_head.bias" in weights else None)
    )


def read_activation(fields: ConfigReader, name: str) -> str:
    if (value := fields.take(name)) not in ACTIVATIONS:
        raise ValueError(f"config.json: {name}={value} is none of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[value]


def read_windows(fields: ConfigReader, layers: int) -> list[int | None]:
    """How many tokens each layer sees, itself included; None for all."""
    width, used = fields.take("sliding_window", None), fields.take("use_sliding_window", True)
    types = fields.take("layer_types", None)
    if types is None and width is not None and used and fields.take("max_window_layers", None) is not None:
        raise ValueError("config.json: max_window_layers without layer_types has no place in the compact graph")
    fields.take("max_window_layers", None)
    if types is None:
        types = ["sliding_attention" if width is not None and used else "full_attention"] * layers
    if unknown := set(types) - {"sliding_attention", "full_attention"}:
        raise ValueError(f"config.json: layer_types={', '.join(sorted(unknown))} has no place in the compact graph")
    return [width if each == "sliding_attention" else None for each in types]
