"""File formats: every supported file as raw rows with their lines."""

import csv
import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, TextIO, cast


class RawRow(NamedTuple):
    """What stands at a line of a file; `error` says why it could not be read."""

    line: int  # the first physical line; in Parquet the number of the row
    value: Any = None
    error: str = ""


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


def decoded(file: IO[bytes], newline: str) -> TextIO:
    """UTF-8 without its BOM; a byte that is not UTF-8 comes as a lone surrogate."""
    return io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline=newline)


def undecodable(text: str) -> str:
    return "bytes that are not UTF-8" if re.search("[\udc80-\udcff]", text) else ""


def json_lines(file: Iterable[str]) -> Iterator[RawRow]:
    """One row per line that is not blank; a bad line spoils no other."""
    for number, line in enumerate(file, start=1):
        start = beyond_blank(line, 0)
        if start < len(line):
            value, end, error = json_value(line, start)
            if not error and line[end:].strip():
                value, error = None, "not JSON: text after the end of the object"
            yield RawRow(number, value, error)


def json_document(text: str) -> Iterator[RawRow]:
    """The elements of an array, or of the one list in an object."""
    if re.match(r"\s*\{.*\}\s*\n\s*\{", text):  # objects without commas: JSON Lines that are called .json
        yield from json_lines(io.StringIO(text, newline="\n"))
        return
    end = start = beyond_blank(text, 0)
    if text.startswith("[", start):
        end = yield from json_array(text, start)
    elif text.startswith("{", start):
        end = yield from json_object(text, start)
    if text[end:].strip():
        line = 1 + text.count("\n", 0, beyond_blank(text, end))
        yield RawRow(line, error="text outside of the array, up to the end of the file")


def json_array(text: str, at: int) -> Generator[RawRow, None, int]:
    """A row per element, a broken one and a missing end included; returns where the array ends."""
    line, at, error = 1 + text.count("\n", 0, at), at + 1, ""
    while not text.startswith("]", start := beyond_blank(text, at)):
        line += text.count("\n", at, start)
        if start == len(text):
            if not error:
                yield RawRow(line, error="the file is cut short here")
            return start
        value, end, error = json_value(text, start)
        if error and end == len(text):
            error += ", and nothing after it can be"
        yield RawRow(line, value, error)
        line += text.count("\n", start, end)
        at = beyond_blank(text, end)
        line += text.count("\n", end, at)
        at += text.startswith(",", at)
    return start + 1


def json_object(text: str, at: int) -> Generator[RawRow, None, int]:
    """The elements of the one list among the members; returns where the object ends."""
    lists: list[str] = []
    at = beyond_blank(text, at + 1)
    while at < len(text) and not text.startswith("}", at):
        name, end, error = json_value(text, at)
        if error:
            raise ValueError(f"the object around the rows cannot be read: {error}")
        at = beyond_blank(text, beyond_blank(text, end) + 1)  # past the colon
        if text.startswith("[", at):
            lists.append(name)
            at = yield from json_array(text, at)
        else:
            at = json_value(text, at)[1]
        at = beyond_blank(text, at)
        at = beyond_blank(text, at + text.startswith(",", at))
    if len(lists) != 1:
        raise ValueError(f"an object must hold one list, its rows, and this one holds {lists or 'none'}")
    return at + 1


def json_value(text: str, at: int) -> tuple[Any, int, str]:
    """A value, where it ends, and why it could not be read."""
    try:
        value, end = DECODER.raw_decode(text, at)
        error = undecodable(text[at:end])
        return None if error else value, end, error
    except RecursionError:
        error = "not JSON that we can read: nested too deeply"
    except json.JSONDecodeError as problem:
        error = f"not JSON: {problem.msg} (character {problem.pos - at + 1} of the row)"
    except ValueError as problem:
        error = f"not JSON: {problem}".split(";")[0]
    return None, beyond_value(text, at), error


def refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


DECODER = json.JSONDecoder(parse_constant=refuse)
BLANK = re.compile(r"[ \t\r\n]*")
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\Z)|[][{},]', re.DOTALL)


def beyond_blank(text: str, at: int) -> int:
    return cast(re.Match[str], BLANK.match(text, at)).end()


def beyond_value(text: str, at: int) -> int:
    """Where an element that cannot be parsed ends, judged by its brackets; else the end of the text."""
    depth = 0
    for token in TOKEN.finditer(text, at):
        if depth <= 0 and token[0] in (",", "]"):
            return token.start()
        depth += (token[0] in ("[", "{")) - (token[0] in ("]", "}"))
    return len(text)


def table(file: TextIO, delimiter: str) -> Iterator[RawRow]:
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


READERS: dict[str, Callable[[IO[bytes]], Iterator[RawRow]]] = {
    ".json": lambda file: json_document(decoded(file, "\n").read()),
    ".jsonl": lambda file: json_lines(decoded(file, "\n")),
    ".ndjson": lambda file: json_lines(decoded(file, "\n")),
    ".csv": lambda file: table(decoded(file, ""), ","),
    ".tsv": lambda file: table(decoded(file, ""), "\t"),
    ".parquet": parquet,
}
