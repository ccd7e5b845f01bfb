"""Which layers see a window of tokens only: each family reads these fields of config.json in its own way.

A field that a family does not read is a stray one and means nothing, as it means nothing to transformers.
"""

from collections.abc import Callable

from refrain.exporters.architectures.config_reader import ConfigReader

FULL, SLIDING = "full_attention", "sliding_attention"
FIELDS = (
    "sliding_window",
    "sliding_window_size",
    "use_sliding_window",
    "max_window_layers",
    "layer_types",
    "sliding_window_pattern",
    "_sliding_window_pattern",
)

Windows = list[int | None]  # for each layer how many tokens it sees, the last one included; None for all


def no_windows(config: ConfigReader, layers: int) -> Windows:
    """Every layer sees all tokens, whatever the fields say."""
    return windows_of_types(config, None, [FULL] * layers, is_mixed=False)


def window_of_every_layer(config: ConfigReader, layers: int) -> Windows:
    """sliding_window is the width for every layer, whatever the other fields say."""
    return windows_of_types(config, config.take("sliding_window"), [SLIDING] * layers, is_mixed=False)


def window_of_named_layers(config: ConfigReader, layers: int) -> Windows:
    """The layers that layer_types names, or all."""
    return windows_of_types(config, config.take("sliding_window"), [SLIDING] * layers)


def windows_of_upper_layers(config: ConfigReader, layers: int) -> Windows:
    """Where use_sliding_window says so: the layers that layer_types names, or those from max_window_layers on."""
    width = config.take("sliding_window") if config.take("use_sliding_window") else None
    first = layers if width is None else config.take("max_window_layers")
    return windows_of_types(config, width, [SLIDING if i >= first else FULL for i in range(layers)])


def windows_between_full_layers(every: int) -> Callable[[ConfigReader, int], Windows]:
    """The layers that layer_types names, or all but each n-th."""

    def read_windows(config: ConfigReader, layers: int) -> Windows:
        types = [SLIDING if (i + 1) % every else FULL for i in range(layers)]
        return windows_of_types(config, config.take("sliding_window"), types)

    return read_windows


def windows_of_types(config: ConfigReader, width: int | None, types: list[str], is_mixed: bool = True) -> Windows:
    """A window for each layer by its type; where types are mixed, layer_types may name others."""
    for name in FIELDS:
        config.take(name, None)
    stated = config.take("layer_types", None) or types
    if unknown := set(stated) - {FULL, SLIDING}:
        raise ValueError(f"config.json: layer_types={', '.join(sorted(unknown))} has no place in the compact graph")
    if is_mixed and len(stated) != len(types):
        raise ValueError(f"config.json: layer_types names {len(stated)} layers, num_hidden_layers says {len(types)}")
    if is_mixed and width is None and SLIDING in stated:
        raise ValueError("config.json: layer_types names layers with a window, and sliding_window gives none")
    if width is not None and width < 1:
        raise ValueError(f"config.json: sliding_window={width} leaves no token to see")
    return [width if layer_type == SLIDING else None for layer_type in (stated if is_mixed else types)]
