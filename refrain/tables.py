"""CSV, TSV and Parquet as raw rows: a broken record is a row too, and no cell changes its column."""

import csv
import io
import sys
from collections.abc import Iterable, Iterator
from typing import IO, TextIO

from refrain.raw import RawRow, undecodable


def delimited(file: TextIO, delimiter: str) -> Iterator[RawRow]:
    """One row per record below a header; a record of another width is an error, never shifted."""
    header: list[str] = []
    for line, cells, error in cells_of(file, delimiter):
        if not header:
            header = [cell.strip() for cell in cells]
            if error or len(set(header)) < len(header):
                raise ValueError(f"line {line}: the header holds {error or 'a name twice'}; correct it")
        elif error or len(cells) != len(header):
            yield RawRow(line, error=error or f"{len(cells)} cells below a header of {len(header)}")
        else:
            yield RawRow(line, dict(zip(header, cells, strict=True)))


def cells_of(file: TextIO, delimiter: str) -> Iterator[tuple[int, list[str], str]]:
    """Each record as its first line, its cells, and why it could not be read."""
    csv.field_size_limit(sys.maxsize)
    taken: list[str] = []  # the physical lines of the record
    lines = noted(file, taken)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    line = 1
    while True:
        cells, error = [], ""
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as problem:
            skip_record(lines, taken)
            error = f"not CSV: {problem} (lines {line} to {line + len(taken) - 1})"
        if cells or error:
            yield line, cells, error or undecodable("".join(taken))
        line += len(taken)
        taken.clear()


def noted(lines: Iterable[str], taken: list[str]) -> Iterator[str]:
    for line in lines:
        taken.append(line)
        yield line


def skip_record(lines: Iterator[str], taken: list[str]) -> None:
    """Read on to where the quotes are even, so that no line of a broken record passes for a row."""
    quotes = sum(line.count('"') for line in taken)
    while quotes % 2:
        quotes += next(lines, '"').count('"')  # the end of the file closes what is open


def parquet(file: IO[bytes]) -> Iterator[RawRow]:
    from pyarrow.parquet import ParquetFile  # slow to import, needed by this format only

    batches = ParquetFile(io.BytesIO(file.read())).iter_batches()
    values = (value for batch in batches for value in batch.to_pylist())
    yield from (RawRow(number, value) for number, value in enumerate(values, start=1))
