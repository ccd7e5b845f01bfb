"""A row as it stands in a file, before anybody asks what it says, and the text it is read from."""

import io
import re
from typing import IO, Any, NamedTuple, TextIO


class RawRow(NamedTuple):
    """What stands at a line of a file; `error` says why it could not be read."""

    line: int  # the first physical line; in Parquet the number of the row
    value: Any = None
    error: str = ""


def decoded(file: IO[bytes], newline: str) -> TextIO:
    """UTF-8 without its BOM; a byte that is not UTF-8 comes as a lone surrogate."""
    return io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline=newline)


def undecodable(text: str) -> str:
    """Why a decoded text cannot be used, or nothing."""
    return "bytes that are not UTF-8" if re.search("[\udc80-\udcff]", text) else ""
