"""Rotary positions (arXiv:2104.09864): how fast each pair of a head's numbers turns."""

import math
from typing import Any

import numpy as np

from refrain.exporters.architectures.config_reader import ConfigReader
from refrain.exporters.architectures.decoder import Array, Rotary

LENGTH_DEPENDENT = ("dynamic", "longrope", "su")  # types of rope_scaling


def read_rotary(config: ConfigReader, head_dim: int) -> Rotary:
    """Rotary positions of a head, or of a part of it in a family that knows partial_rotary_factor."""
    if not config.assumes("partial_rotary_factor"):
        config.expect("partial_rotary_factor", 1.0)
    width = int(head_dim * config.take("partial_rotary_factor", 1.0))
    context, scaling = config.take("max_position_embeddings"), config.take("rope_scaling", None)
    return scale_rotary(config.take("rope_theta"), width, scaling, context)


def scale_rotary(base: float, width: int, scaling: dict[str, Any] | None = None, context: int = 0) -> Rotary:
    """Frequencies of `width` numbers (section 3.2.2), stretched as config.json's rope_scaling says."""
    unscaled = 1.0 / (np.float32(base) ** (np.arange(0, width, 2, dtype=np.float32) / np.float32(width)))
    config, factor = ConfigReader(scaling or {}), 1.0
    kind = config.take("rope_type", None) or config.take("type", "default")
    if kind == "default":
        frequencies = unscaled
    elif kind == "linear":
        frequencies = unscaled / np.float32(config.take("factor"))
    elif kind == "llama3":
        frequencies = scale_for_llama3(unscaled, config)
    elif kind == "yarn":
        frequencies, factor = scale_for_yarn(unscaled, config, base, context)
    else:
        reason = ", for it turns by the length of a conversation" if kind in LENGTH_DEPENDENT else ""
        raise ValueError(f"config.json: rope_scaling of type {kind} has no place in the compact graph{reason}")
    config.take("type", None)
    config.take("rope_theta", None)
    config.require_all_read()
    frequencies = np.asarray(frequencies, dtype=np.float32)
    return Rotary(frequencies, factor, base=float(base), scaling=None if kind == "default" else scaling)


def scale_for_llama3(unscaled: Array, config: ConfigReader) -> Array:
    """Llama 3.1's stretch: low frequencies by `factor`, high ones not at all, those between in proportion."""
    factor, old_context = config.take("factor"), config.take("original_max_position_embeddings")
    low, high = config.take("low_freq_factor"), config.take("high_freq_factor")
    wavelengths = 2 * np.pi / unscaled
    smooth = (old_context / wavelengths - low) / (high - low)
    between = (1 - smooth) * unscaled / factor + smooth * unscaled
    is_low, is_high = wavelengths > old_context / low, wavelengths < old_context / high
    return np.asarray(np.where(is_low, unscaled / factor, np.where(is_high, unscaled, between)), dtype=np.float32)


def scale_for_yarn(unscaled: Array, config: ConfigReader, base: float, context: int) -> tuple[Array, float]:
    """YaRN (arXiv:2309.00071): slow pairs stretched, fast ones not, and what has been turned is a little longer."""
    factor, width = config.take("factor"), 2 * len(unscaled)
    old_context = config.take("original_max_position_embeddings", None) or context
    bounds = [
        width * math.log(old_context / (turns * 2 * math.pi)) / (2 * math.log(base))
        for turns in (config.take("beta_fast", None) or 32, config.take("beta_slow", None) or 1)
    ]
    if config.take("truncate", True):
        bounds = [math.floor(bounds[0]), math.ceil(bounds[1])]
    low, high = max(bounds[0], 0), min(bounds[1], width - 1)
    ramp = (np.arange(width // 2, dtype=np.float32) - low) / ((high - low) or 0.001)
    kept = 1 - np.clip(ramp, 0, 1)
    return unscaled / factor * (1 - kept) + unscaled * kept, yarn_factor(config, factor)


def yarn_factor(config: ConfigReader, factor: float) -> float:
    """How much longer queries and keys become."""
    stated, scales = (
        config.take("attention_factor", None),
        [config.take("mscale", None), config.take("mscale_all_dim", None)],
    )

    def growth(scale: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0

    if stated is not None:
        return float(stated)
    return growth(scales[0]) / growth(scales[1]) if all(scales) else growth(1.0)
