"""JSON Lines by the block, and one JSON value: what is broken is a row too, with its line and the reason."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from refrain.data.readers.plain_lines import parse_plain_line
from refrain.data.readers.raw_rows import (
    BOM,
    MAX_NESTING,
    MAX_ROW_LENGTH,
    NOT_UTF8,
    TOO_LONG,
    RawRow,
    RowBlock,
    read_float,
)  # fmt: skip


@dataclass(frozen=True)
class JsonLinesBlock:
    """Whole lines of a file, parsed only where they are wanted."""

    text: bytes
    line: int  # of the first one
    offset: int

    def rows(self) -> Iterator[RawRow]:
        """One row per line that is not blank; a bad line spoils no other."""
        text = self.text.removeprefix(BOM) if self.offset == 0 else self.text
        offset = self.offset + len(self.text) - len(text)
        for number, line in enumerate(text.split(b"\n"), start=self.line):  # neither U+2028 nor \r ends a line
            if line.strip(b" \t\r"):
                value, error = parse_line(line)
                yield RawRow(number, value, error, offset)
            offset += len(line) + 1


def read_blocks(chunks: Iterable[bytes]) -> Iterator[JsonLinesBlock | RowBlock]:
    """The lines of a file in blocks of about a chunk; one that is too long is skipped, and never held whole."""
    line, offset, pending, skipping = 1, 0, b"", False
    for chunk in chunks:
        if skipping:
            end = chunk.find(b"\n") + 1
            skipping, line, offset = not end, line + bool(end), offset + (end or len(chunk))
            pending = chunk[end:] if end else b""
        else:
            pending += chunk
        if end := pending.rfind(b"\n") + 1:
            yield JsonLinesBlock(pending[:end], line, offset)
            line, offset, pending = line + pending.count(b"\n", 0, end), offset + end, pending[end:]
        elif len(pending) > MAX_ROW_LENGTH:
            yield RowBlock((RawRow(line, error=TOO_LONG, offset=offset),))
            offset, pending, skipping = offset + len(pending), b"", True
    if pending:
        yield JsonLinesBlock(pending, line, offset)


def parse_line(line: bytes) -> tuple[Any, str]:
    """The one value of a line, or why it could not be read."""
    if len(line) > MAX_ROW_LENGTH:
        return None, TOO_LONG
    if (plain_value := parse_plain_line(line)) is not None:
        return plain_value, ""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return None, NOT_UTF8
    value, end, error = parse_value(text, skip_blank(text, 0))
    if not error and skip_blank(text, end) < len(text):
        return None, "not JSON: text after the end of the object"
    return value, error


def parse_value(text: str, at: int) -> tuple[Any, int, str]:
    """A value and where it ends, or why it could not be read."""
    try:
        value, end = DECODER.raw_decode(text, at)
        has_many_brackets = text.count("[", at, end) + text.count("{", at, end) > MAX_NESTING
        return (None, end, TOO_DEEP) if has_many_brackets and is_too_deep(value) else (value, end, "")
    except RecursionError:
        error = TOO_DEEP
    except json.JSONDecodeError as failure:
        error = f"not JSON: {failure.msg} (character {failure.pos - at + 1} of the row)"
    except ValueError as failure:
        error = f"not JSON: {failure}".split(";")[0]
    return None, at, error


def is_too_deep(value: Any) -> bool:
    """Whether a value has more levels than we read."""
    level = [value]
    for _ in range(MAX_NESTING + 1):
        level = [child for parent in level if isinstance(parent, list | dict) for child in children(parent)]
    return bool(level)


def children(value: list[Any] | dict[str, Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def skip_blank(text: str, at: int) -> int:
    return cast(re.Match[str], BLANK.match(text, at)).end()


def refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def unique_members(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """The members of an object, of which Python would keep the last of a name without a word."""
    value = dict(members)
    if len(value) < len(members):
        raise ValueError("a name stands twice in an object")
    return value


DECODER = json.JSONDecoder(parse_float=read_float, parse_constant=refuse_constant, object_pairs_hook=unique_members)


TOO_DEEP = f"not JSON that we can read: nested too deeply, in more than {MAX_NESTING} levels"


BLANK = re.compile(r"[ \t\r\n]*")
