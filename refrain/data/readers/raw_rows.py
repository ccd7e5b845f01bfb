"""A row as it stands in a file, before anybody asks what it says; rows by the block, and lines of text."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

CHUNK_BYTES = 1 << 22  # bytes that are read at a time, and about the text of a block


BLOCK_ROWS = 1000  # rows of a block at most


MAX_NESTING = 250  # levels of a value: how many more Python can read depends on who calls


MAX_ROW_LENGTH = 1 << 24  # length of a row: JSON may take twenty times its length in memory once it is parsed


TOO_LONG = f"longer than {MAX_ROW_LENGTH >> 20} MiB"


NOT_UTF8 = "bytes that are not UTF-8; if the file has another encoding, write it beside the path: `encoding: cp1252`"


BOM = b"\xef\xbb\xbf"


class RawRow(NamedTuple):
    """What stands at a line of a file; `error` says why it could not be read."""

    line: int  # the first physical line; in Parquet the number of the row
    value: Any = None
    error: str = ""
    offset: int | None = None  # the byte of the unpacked file at which it begins; none in Parquet
    nth: int = 1  # of the rows that begin in this line


class WrittenFloat(float):
    """A number with a point or an exponent, and how it is written: 1.50 is not 1.5."""

    text: str


def read_float(text: str) -> WrittenFloat:
    number = WrittenFloat(text)
    number.text = text
    return number


class Line(NamedTuple):
    """A physical line of a text."""

    number: int
    offset: int
    text: str  # with its end; nothing when it is too long, as `error` then says
    error: str = ""


@dataclass(frozen=True)
class RowBlock:
    """A block of rows that are read already."""

    raw_rows: tuple[RawRow, ...]

    def rows(self) -> Iterator[RawRow]:
        return iter(self.raw_rows)


def in_blocks(rows: Iterable[RawRow]) -> Iterator[RowBlock]:
    """Blocks of bounded size, in order; where they end depends on the bytes of the file alone."""
    block: list[RawRow] = []
    for row in rows:
        if block and (len(block) == BLOCK_ROWS or (row.offset or 0) - (block[0].offset or 0) > CHUNK_BYTES):
            yield RowBlock(tuple(block))
            block = []
        block.append(row)
    if block:
        yield RowBlock(tuple(block))


def split_lines(chunks: Iterable[bytes]) -> Iterator[Line]:
    """The lines of a file with their ends, \\n, \\r\\n or \\r; one that is too long is not held."""
    number, offset, pending, skipped_bytes = 1, 0, b"", 0
    for chunk in chain(chunks, [b""]):
        lines = (pending + chunk).splitlines(keepends=True)
        pending = lines.pop() if chunk and lines and not lines[-1].endswith(b"\n") else b""  # \n may follow on \r
        if not chunk and not lines and skipped_bytes:
            lines = [b""]
        for line in lines:
            length = skipped_bytes + len(line)
            if offset == 0 and line.startswith(BOM):
                offset, line, length = len(BOM), line.removeprefix(BOM), length - len(BOM)
            if length > MAX_ROW_LENGTH:
                yield Line(number, offset, "", TOO_LONG)
            elif line:
                yield Line(number, offset, line.decode("utf-8", "surrogateescape"))
            number, offset, skipped_bytes = number + 1, offset + length, 0
        if len(pending) > MAX_ROW_LENGTH and not pending.endswith(b"\r"):
            skipped_bytes, pending = skipped_bytes + len(pending), b""


def decoding_error(text: str) -> str:
    """Why a text that was decoded with surrogateescape cannot be used, or nothing."""
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:
        return NOT_UTF8
    return ""


def byte_length(text: str) -> int:
    """The bytes that a text was decoded from."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))
