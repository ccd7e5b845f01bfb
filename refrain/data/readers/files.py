"""File formats: any supported file, zipped or not, as blocks of raw rows, streamed and known not to have changed."""

import gzip
import os
import stat
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from refrain.data.readers import delimited, json_document, json_lines, tables
from refrain.data.readers.json_lines import JsonLinesBlock
from refrain.data.readers.raw_rows import CHUNK_BYTES, RawRow, RowBlock

Block = JsonLinesBlock | RowBlock  # can be pickled; `rows()` gives its rows


MAX_UNPACKED = 100 << 20  # bytes that any file may unpack to


MAX_RATIO = 200  # of the packed size that a larger one may unpack to; text of people stays below 20


def read_rows(path: Path) -> Iterator[RawRow]:
    """Every row of a file, readable or not, in order; ValueError as in `read_blocks`."""
    for block in read_blocks(path):
        yield from block.rows()


def read_blocks(path: Path) -> Iterator[Block]:
    """A file in bounded memory; ValueError when it makes no sense as a whole, or changes while it is read."""
    reader = READERS.get(Path(path.name.lower().removesuffix(".gz")).suffix)
    if reader is None:
        raise ValueError(f"{path}: unknown format; use one of {' '.join(READERS)}, each also with .gz")
    with open_unchanging(path) as content:
        yield from reader(content)


@dataclass(frozen=True)
class OpenFile:
    """The bytes of an open file, unpacked."""

    file: IO[bytes]
    packed_size: int | None  # size of the file, if it is zipped

    def chunks(self) -> Iterator[bytes]:
        unpacked_size = 0
        while chunk := self.file.read(CHUNK_BYTES):
            unpacked_size += len(chunk)
            if self.packed_size is not None and unpacked_size > max(MAX_UNPACKED, MAX_RATIO * self.packed_size):
                raise ValueError(f"unpacks to over {MAX_RATIO} times its size; if it is no bomb, unpack it yourself")
            yield chunk

    def text_chunks(self) -> Iterator[bytes]:
        """The chunks of a file in UTF-8."""
        for number, chunk in enumerate(self.chunks()):
            if number == 0 and looks_like_utf16(chunk[:4]):
                raise ValueError("UTF-16 or UTF-32, not UTF-8; convert it, for instance with iconv -f UTF-16 -t UTF-8")
            yield chunk


def looks_like_utf16(head: bytes) -> bool:
    """Whether a text begins with a mark of UTF-16 or UTF-32, or with every other byte zero."""
    return head[:2] in (b"\xff\xfe", b"\xfe\xff") or (any(head) and b"\0\0" in (head[::2], head[1::2]))


@contextmanager
def open_unchanging(path: Path) -> Iterator[OpenFile]:
    """A file that can be read to its end; what goes wrong becomes one sentence with its path."""
    try:
        mode = path.stat().st_mode  # before it is opened: a pipe would wait for ever
        if not stat.S_ISREG(mode):
            raise ValueError(f"{path}: {'a folder' if stat.S_ISDIR(mode) else 'no regular file'}; name a file")
        raw = path.open("rb")
    except OSError as error:
        raise ValueError(f"{path}: cannot be opened: {error.strerror}; correct the path") from error
    with raw:
        before = os.fstat(raw.fileno())
        is_zipped = path.name.lower().endswith(".gz")
        try:
            unpacked = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if is_zipped else raw
            yield OpenFile(unpacked, before.st_size if is_zipped else None)
        except (ValueError, OSError, EOFError, zlib.error) as error:
            check_unchanged(path, before)
            way_out = "" if isinstance(error, ValueError) else "; the file is damaged, fetch it again"
            raise ValueError(f"{path}: {error}{way_out}") from error
        check_unchanged(path, before)


def check_unchanged(path: Path, before: os.stat_result) -> None:
    try:
        after = path.stat()
    except OSError as error:
        raise ValueError(f"{path}: changed while it was read; run again") from error
    if any(getattr(before, name) != getattr(after, name) for name in ("st_dev", "st_ino", "st_size", "st_mtime_ns")):
        raise ValueError(f"{path}: changed while it was read; run again")


def parquet_blocks(content: OpenFile) -> Iterator[Block]:
    if content.packed_size is None:
        yield from tables.read_parquet(content.file)
        return
    with tempfile.TemporaryFile() as file:  # Parquet is read from its end
        file.writelines(content.chunks())
        yield from tables.read_parquet(file)


READERS: dict[str, Callable[[OpenFile], Iterator[Block]]] = {
    ".json": lambda content: json_document.read_blocks(content.text_chunks()),
    ".jsonl": lambda content: json_lines.read_blocks(content.text_chunks()),
    ".ndjson": lambda content: json_lines.read_blocks(content.text_chunks()),
    ".csv": lambda content: delimited.read_delimited(content.text_chunks(), ","),
    ".tsv": lambda content: delimited.read_delimited(content.text_chunks(), "\t"),
    ".parquet": parquet_blocks,
}
