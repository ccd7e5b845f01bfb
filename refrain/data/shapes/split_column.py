"""The split that a row itself names, in a column of its own, such as a published `split`."""

from collections.abc import Iterable
from typing import Any

from refrain.data.shapes import fields
from refrain.data.shapes.columns import plain_name
from refrain.data.shapes.errors import RowError
from refrain.data.split_names import SPLIT_NAMES

NAMES = ("split", "datasplit", "datasetsplit", "splitname", "partition")  # of the column, the likeliest first


def list_split_columns(columns: Iterable[str]) -> list[str]:
    """The columns that are called split, or in another way."""
    named = {plain_name(column): column for column in reversed(list(columns))}
    return [named[name] for name in NAMES if name in named]


def map_splits(values: Iterable[Any]) -> dict[str, str]:
    """What these values say and mean, each once; nothing if most of them are no split, but something else."""
    filled = [value for value in values if not fields.is_empty(value)]
    known = [value for value in filled if isinstance(value, str) and value.strip().lower() in SPLIT_NAMES]
    if 2 * len(known) <= len(filled):
        return {}
    return {value: SPLIT_NAMES[value.strip().lower()] for value in dict.fromkeys(known)}


def parse_split(value: Any, column: str) -> str:
    """Our name of the split; RowError when the value is none that is known."""
    split = SPLIT_NAMES.get(value.strip().lower()) if isinstance(value, str) else None
    if split is None:
        raise RowError("unknown_label", f"{column} of the row is {value!a:.40}, which is no split: only "
                       "train, val, validation, dev and test are")  # fmt: skip
    return split
