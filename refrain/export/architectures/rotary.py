"""Rotary positions (arXiv:2104.09864): how fast each pair of a head's numbers turns."""

from typing import Any

import numpy as np

from refrain.export.architectures.config_reader import ConfigReader
from refrain.export.architectures.decoder import Array


def rotary_frequencies(base: float, head_dim: int, scaling: dict[str, Any] | None) -> Array:
    """Inverse frequencies [head_dim / 2] (section 3.2.2), stretched as config.json's rope_scaling says."""
    unscaled = 1.0 / (np.float32(base) ** (np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)))
    config = ConfigReader(scaling or {})
    kind = config.take("rope_type", None) or config.take("type", "default")
    if kind == "default":
        frequencies = unscaled
    elif kind == "linear":
        frequencies = unscaled / np.float32(config.take("factor"))
    elif kind == "llama3":
        frequencies = scale_for_llama3(unscaled, config)
    else:
        raise ValueError(f"config.json: rope_scaling of type {kind} has no place in the compact graph")
    config.take("type", None)
    config.require_all_read()
    return np.asarray(frequencies, dtype=np.float32)


def scale_for_llama3(unscaled: Array, config: ConfigReader) -> Array:
    """Llama 3.1's stretch: low frequencies by `factor`, high ones not at all, those between in proportion."""
    factor, old_context = config.take("factor"), config.take("original_max_position_embeddings")
    low, high = config.take("low_freq_factor"), config.take("high_freq_factor")
    wavelengths = 2 * np.pi / unscaled
    smooth = (old_context / wavelengths - low) / (high - low)
    between = (1 - smooth) * unscaled / factor + smooth * unscaled
    is_low, is_high = wavelengths > old_context / low, wavelengths < old_context / high
    return np.asarray(np.where(is_low, unscaled / factor, np.where(is_high, unscaled, between)), dtype=np.float32)
