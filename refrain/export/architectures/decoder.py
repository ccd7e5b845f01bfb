"""What every decoder is made of, whatever its family: the parts that the compact graph can draw.

Rotary positions (arXiv:2104.09864): how fast each pair of a head's numbers turns.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from refrain.export.architectures.model_files import Array, ConfigReader


@dataclass(frozen=True)
class Linear:
    """x @ weight.T + bias."""

    weight: Array  # [out, in]
    bias: Array | None = None


@dataclass(frozen=True)
class Norm:
    """Layer normalisation (arXiv:1607.06450); without a bias root mean square normalisation (arXiv:1910.07467)."""

    weight: Array
    bias: Array | None = None


@dataclass(frozen=True)
class Layer:
    before_attention: Norm
    qkv: Linear  # queries, keys and values, one below the other
    q_norm: Norm | None  # of each head
    k_norm: Norm | None
    out: Linear
    after_attention: Norm | None
    before_mlp: Norm
    up: Linear  # where the decoder is gated: the gate, then what it lets through
    down: Linear
    after_mlp: Norm | None
    frequencies: Array | None  # of rotary positions (arXiv:2104.09864), [head_dim / 2]; None: the table is positioned
    window: int | None  # how many tokens each one sees, itself included; None: all before it


@dataclass(frozen=True)
class Decoder:
    heads: int
    kv_heads: int
    head_dim: int
    layers: int
    context: int
    epsilon: float  # of every norm
    scale: float  # of queries times keys
    activation: str  # silu, gelu, gelu_tanh or relu
    gated: bool
    table: Array  # [vocabulary, width]
    table_scale: float
    positions: Array | None  # [context, width], learned; None: rotary
    layer: Callable[[int], Layer]  # reads one layer's weights
    norm: Norm
    head: Linear | None  # None: the table is the head


def rotary_frequencies(base: float, head_dim: int, scaling: dict[str, Any] | None) -> Array:
    """Inverse frequencies [head_dim / 2] (section 3.2.2), stretched as config.json's rope_scaling says."""
    plain = 1.0 / (np.float32(base) ** (np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)))
    fields = ConfigReader(scaling or {})
    kind = fields.take("rope_type", None) or fields.take("type", "default")
    if kind == "default":
        turning = plain
    elif kind == "linear":
        turning = plain / np.float32(fields.take("factor"))
    elif kind == "llama3":
        turning = llama3_frequencies(plain, fields)
    else:
        raise ValueError(f"config.json: rope_scaling of type {kind} has no place in the compact graph")
    fields.take("type", None)
    fields.require_all_read()
    return np.asarray(turning, dtype=np.float32)


def llama3_frequencies(plain: Array, fields: ConfigReader) -> Array:
    """Llama 3.1's stretch: low frequencies by `factor`, high ones not at all, those between in proportion."""
    factor, old = fields.take("factor"), fields.take("original_max_position_embeddings")
    low, high = fields.take("low_freq_factor"), fields.take("high_freq_factor")
    lengths = 2 * np.pi / plain
    smooth = (old / lengths - low) / (high - low)
    between = (1 - smooth) * plain / factor + smooth * plain
    slow, fast = lengths > old / low, lengths < old / high
    return np.asarray(np.where(slow, plain / factor, np.where(fast, plain, between)), dtype=np.float32)
