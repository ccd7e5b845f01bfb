"""File formats: any supported file, zipped or not, as raw rows with their lines."""

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

from refrain import json_rows, tables
from refrain.raw import RawRow, decoded


def rows(path: Path) -> Iterator[RawRow]:
    """Every row of a file, readable or not, in order; ValueError when the file as a whole makes no sense."""
    name = path.name.lower()
    reader = READERS.get(Path(name.removesuffix(".gz")).suffix)
    if reader is None:
        raise ValueError(f"{path}: unknown format; use one of {' '.join(READERS)}, each also with .gz")
    with gzip.open(path) if name.endswith(".gz") else path.open("rb") as file:
        try:
            yield from reader(cast(IO[bytes], file))
        except (ValueError, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: {error}") from error


READERS: dict[str, Callable[[IO[bytes]], Iterator[RawRow]]] = {
    ".json": lambda file: json_rows.document(decoded(file, "\n").read()),
    ".jsonl": lambda file: json_rows.lines(decoded(file, "\n")),
    ".ndjson": lambda file: json_rows.lines(decoded(file, "\n")),
    ".csv": lambda file: tables.delimited(decoded(file, ""), ","),
    ".tsv": lambda file: tables.delimited(decoded(file, ""), "\t"),
    ".parquet": tables.parquet,
}
