"""What rows may come from: files, and rows in memory, which become a file so that stages read them as any other."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from refrain.data.split_names import SPLIT_NAMES
from refrain.pipeline.schema import SourceConfig

Rows = str | Path | SourceConfig | Mapping[str, Any] | Iterable[Any]
FILE = "rows.jsonl"  # of rows that were in memory
KINDS = "a path, a list of paths, a list of rows, a table of pandas or datasets, or a mapping of splits to these"


def list_sources(rows: Rows, scratch: Path, **settings: Any) -> list[SourceConfig]:
    """A source for each file; rows in memory are written below `scratch`. ValueError for what is neither."""
    if isinstance(rows, SourceConfig):
        return [replace(rows, path=absolute(rows.path) if rows.path else "")]
    if isinstance(rows, str | Path):
        return [SourceConfig(absolute(str(rows)), **settings)]
    if isinstance(rows, Mapping):
        return list_splits(rows, scratch, settings)
    if not isinstance(rows, Iterable):
        raise ValueError(f"rows: {type(rows).__name__} holds none; give {KINDS}")
    items = read_frame(rows) if hasattr(rows, "to_dict") and hasattr(rows, "notna") else list(rows)
    if items and all(isinstance(item, str | Path | SourceConfig) for item in items):
        return [source for item in items for source in list_sources(item, scratch, **settings)]
    return [SourceConfig(str(write_memory(items, scratch)), **settings)]


def read_frame(frame: Any) -> list[Any]:
    """The rows of a table of pandas, where NaN is a cell without a value."""
    return list(frame.astype(object).where(frame.notna(), None).to_dict("records"))


def list_splits(splits: Mapping[str, Any], scratch: Path, settings: dict[str, Any]) -> list[SourceConfig]:
    """Sources whose split is declared by the key that they stand under."""
    for name in splits:
        if name not in SPLIT_NAMES:
            raise ValueError(f"rows: {name!r} is no split, which the keys of a mapping are (train, val, test); one row "
                             "alone is a list of one, [row]")  # fmt: skip
    return [
        source
        for name, rows in splits.items()
        for source in list_sources(rows, scratch, **settings, split=SPLIT_NAMES[name])
    ]


def absolute(path: str) -> str:
    """Where a path leads from here, for a stage that works elsewhere; patterns stay patterns."""
    return str(Path.cwd() / Path(path).expanduser())


def write_memory(rows: list[Any], scratch: Path) -> Path:
    """Rows as a JSON Lines file in a folder of its own; ValueError for one that cannot be."""
    folder = scratch / str(len(list(scratch.iterdir())))
    folder.mkdir()
    with (folder / FILE).open("w", encoding="utf-8") as file:
        for number, row in enumerate(rows, 1):
            file.write(to_json(row, f"row {number}") + "\n")
    return folder / FILE


def to_json(row: Any, name: str) -> str:
    """A row on one line; ValueError for what is none, or has no place in JSON."""
    if not isinstance(row, Mapping):
        raise ValueError(f"{name}: it is {type(row).__name__}, and a row is a dict such as "
                         '{"question": ..., "answer": ...} or {"messages": [...]}')  # fmt: skip
    try:
        line = json.dumps(dict(row), ensure_ascii=False, default=plain_value)
        line.encode("utf-8")  # half a pair of surrogates is no text
        return line
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: it holds what JSON cannot ({error}); give text, numbers, lists and dicts") from error


def plain_value(value: Any) -> Any:
    """Numbers and arrays of NumPy as Python's, dates as text; TypeError for anything else."""
    for method in ("tolist", "isoformat"):
        if hasattr(value, method):
            return getattr(value, method)()
    raise TypeError(f"a value of the type {type(value).__name__}")
