"""File formats: any supported file, zipped or not, as blocks of raw rows, streamed and known not to have changed."""

import os
import stat
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from zipfile import BadZipFile

from refrain.data.readers import archives, tables, text_formats, workbook
from refrain.data.readers.raw_rows import CHUNK_BYTES, RawRow, RowBlock
from refrain.data.readers.text_formats import Block
from refrain.pipeline.schema import SourceConfig


def read_rows(path: Path, source: SourceConfig) -> Iterator[RawRow]:
    """Every row of a file, readable or not, in order; ValueError as in `read_blocks`."""
    for block in read_blocks(path, source):
        yield from block.rows()


def read_blocks(path: Path, source: SourceConfig) -> Iterator[Block]:
    """A file in bounded memory; ValueError when it makes no sense as a whole, or changes while it is read.

    The path may lead on into the file: to a member of a ZIP, to a sheet of a workbook.
    """
    with open_unchanging(path) as content:
        if not can_read(content.name):
            raise ValueError(unknown_format())
        if is_text(content.name):
            yield from text_formats.read_blocks(content.chunks(), format_suffix(content.name), source)
        else:
            yield from READERS[format_suffix(content.name)](content)


def describe_format(path: Path, source: SourceConfig) -> str:
    """How a text is read where that is found from what it holds, in words; nothing of other files."""
    with open_unchanging(path) as content:
        if not is_text(content.name):
            return ""
        return text_formats.describe(content.chunks(), format_suffix(content.name), source)


def unknown_format() -> str:
    """Why a file that nothing reads is refused, and which formats there are."""
    return f"unknown format; use one of {' '.join(FORMATS)}, each also with .gz or .zst, or in a .zip"


def can_read(name: str) -> bool:
    """Whether a file of this name is one of rows."""
    return format_suffix(name) in FORMATS


def is_text(name: str) -> bool:
    return format_suffix(name) in text_formats.READERS


def format_suffix(name: str) -> str:
    return Path(archives.content_name(name)).suffix


@dataclass(frozen=True)
class OpenFile:
    """The bytes of an open file, unpacked."""

    name: str  # without a folder: of the file, or of the member of an archive
    file: IO[bytes]
    packed_size: int | None  # size of the file, if it is packed
    sheet: str = ""  # of a workbook, if one is asked for

    def chunks(self) -> Iterator[bytes]:
        unpacked_size = 0
        while chunk := self.file.read(CHUNK_BYTES):
            unpacked_size += len(chunk)
            if self.packed_size is not None:
                archives.refuse_bomb(self.packed_size, unpacked_size)
            yield chunk


@contextmanager
def open_unchanging(path: Path) -> Iterator[OpenFile]:
    """A file, or what the path leads to in it, that can be read to its end."""
    file, inside = split_path(path)
    with open_raw(file, path) as raw:
        yield open_content(raw, file.name, inside)


@contextmanager
def open_raw(file: Path, path: Path | None = None) -> Iterator[IO[bytes]]:
    """A file as it is, known not to have changed; what goes wrong becomes one sentence with the path."""
    path = path or file
    try:
        mode = file.stat().st_mode  # before it is opened: a pipe would wait for ever
        if not stat.S_ISREG(mode):
            raise ValueError(f"{path}: {'a folder' if stat.S_ISDIR(mode) else 'no regular file'}; name a file")
        raw = file.open("rb")
    except OSError as error:
        raise ValueError(f"{path}: cannot be opened: {error.strerror}; correct the path") from error
    with raw:
        before = os.fstat(raw.fileno())
        try:
            yield raw
        except (ValueError, OSError, EOFError, zlib.error, BadZipFile) as error:
            check_unchanged(file, before)
            way_out = "" if isinstance(error, ValueError) else "; the file is damaged, fetch it again"
            raise ValueError(f"{path}: {error}{way_out}") from error
        check_unchanged(file, before)


def split_path(path: Path) -> tuple[Path, str]:
    """A file, and where in it the path leads."""
    file = next((parent for parent in path.parents if not path.exists() and parent.is_file()), path)
    return file, "" if file is path else path.relative_to(file).as_posix()


def open_content(raw: IO[bytes], name: str, inside: str) -> OpenFile:
    """The bytes of a file, or of what it holds, unpacked."""
    if is_archive(name):
        name, member, size = archives.open_member(raw, inside, can_read)
        return OpenFile(name, archives.unpack(member, name), size)
    packed_size = os.fstat(raw.fileno()).st_size if archives.is_packed(name) else None
    return OpenFile(name, archives.unpack(raw, name), packed_size, inside)


def is_archive(name: str) -> bool:
    """Whether a file of this name holds files."""
    return name.lower().endswith(".zip")


def list_members(path: Path) -> list[str]:
    """The files in an archive, by relative path."""
    with open_raw(path) as raw:
        return archives.list_members(archives.open_zip(raw))


def check_unchanged(path: Path, before: os.stat_result) -> None:
    try:
        after = path.stat()
    except OSError as error:
        raise ValueError(f"{path}: changed while it was read; run again") from error
    if any(getattr(before, name) != getattr(after, name) for name in ("st_dev", "st_ino", "st_size", "st_mtime_ns")):
        raise ValueError(f"{path}: changed while it was read; run again")


@contextmanager
def seekable(content: OpenFile) -> Iterator[IO[bytes]]:
    """The same bytes where they can be read in any order."""
    if content.packed_size is None:
        yield content.file
        return
    with tempfile.TemporaryFile() as file:
        file.writelines(content.chunks())
        file.seek(0)
        yield file


def read_seekable(content: OpenFile, reader: Callable[[IO[bytes]], Iterator[RowBlock]]) -> Iterator[Block]:
    """The blocks of a format that is not read from its beginning to its end."""
    with seekable(content) as file:
        yield from reader(file)


READERS: dict[str, Callable[[OpenFile], Iterator[Block]]] = {
    ".parquet": lambda content: read_seekable(content, tables.read_parquet),
    ".arrow": lambda content: read_seekable(content, tables.read_arrow),
    ".feather": lambda content: read_seekable(content, tables.read_arrow),
    ".xlsx": lambda content: read_seekable(content, lambda file: workbook.read_sheet(file, content.sheet)),
}


FORMATS = (*text_formats.READERS, *READERS)  # by the ends of their names
