"""Rotary positions (arXiv:2104.09864): how fast each pair of a head's numbers turns."""

from typing import Any

import numpy as np

from refrain.fields import Fields
from refrain.weights import Array


def frequencies(base: float, head_dim: int, scaling: dict[str, Any] | None) -> Array:
    """Inverse frequencies [head_dim / 2] (section 3.2.2), stretched as config.json's rope_scaling says."""
    plain = 1.0 / (np.float32(base) ** (np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)))
    fields = Fields(scaling or {})
    kind = fields.take("rope_type", None) or fields.take("type", "default")
    if kind == "default":
        turning = plain
    elif kind == "linear":
        turning = plain / np.float32(fields.take("factor"))
    elif kind == "llama3":
        turning = llama3(plain, fields)
    else:
        raise ValueError(f"config.json: rope_scaling of type {kind} has no place in the compact graph")
    fields.take("type", None)
    fields.end()
    return np.asarray(turning, dtype=np.float32)


def llama3(plain: Array, fields: Fields) -> Array:
    """Llama 3.1's stretch: low frequencies by `factor`, high ones not at all, those between in proportion."""
    factor, old = fields.take("factor"), fields.take("original_max_position_embeddings")
    low, high = fields.take("low_freq_factor"), fields.take("high_freq_factor")
    lengths = 2 * np.pi / plain
    smooth = (old / lengths - low) / (high - low)
    between = (1 - smooth) * plain / factor + smooth * plain
    slow, fast = lengths > old / low, lengths < old / high
    return np.asarray(np.where(slow, plain / factor, np.where(fast, plain, between)), dtype=np.float32)
