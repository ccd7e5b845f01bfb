"""What people say of answers, as rows that `prepare` reads: a file of chats, and one beside it of pairs.

A row is kept only if prepare would take it, in such a file; a row of another form would be none of it there.
"""

import fcntl
import json
import os
import stat
from collections import Counter
from functools import cache
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refrain.chat import records

if TYPE_CHECKING:  # a server that nobody corrects need not load what reads rows
    from refrain.data.shapes.conversations import ParseResult
    from refrain.pipeline.schema import Policies

FILE = Path("data/raw/feedback.jsonl")  # of a repository
PAIRS = "-pairs"  # in the name of the file of pairs


def pairs_file(file: Path) -> Path:
    return file.with_name(f"{file.stem}{PAIRS}{file.suffix}")


def check_row(row: dict[str, Any], file: Path) -> dict[str, Any]:
    """The row as it is kept; ValueError where prepare would not learn from it, or would read it as something else."""
    from refrain.data.readers.raw_rows import RawRow
    from refrain.data.shapes import parsing, recognition
    from refrain.data.shapes.errors import RowError
    from refrain.pipeline.schema import SourceConfig

    try:
        json.dumps(row, ensure_ascii=False).encode()
        layout = recognition.recognise_layout(SourceConfig(path=str(file)), [RawRow(1, row)])
        require_conversation(parsing.parse_row(RawRow(1, row), layout, lenient_policies()))
    except UnicodeEncodeError as error:
        raise ValueError("a text holds half of a surrogate pair; write the whole character") from error
    except (RowError, RecursionError) as error:
        raise ValueError(str(error)) from error
    return row


@cache
def lenient_policies() -> "Policies":
    """Those that keep most."""
    from refrain.pipeline.schema import Policies
    from refrain.pipeline.validation import POLICIES

    return Policies(**{name: choices[0] for name, choices in POLICIES.items()}, pii=[])


def require_conversation(parts: list["ParseResult"]) -> None:
    """RowError where prepare would not take the one conversation of a row."""
    from refrain.data.cleaning import policies
    from refrain.data.shapes.errors import RowError

    (part,) = parts
    if isinstance(part, RowError):
        raise part
    policies.apply_policies(part, lenient_policies(), Counter())


def append_row(file: Path, row: dict[str, Any]) -> None:
    """One more line, on the disk when this returns; OSError with the file as it was, ValueError where it is DVC's."""
    if file.is_symlink():
        raise is_link(file)
    with file.open("a+b", buffering=0) as opened:  # what could not be written must not wait for another try
        status = os.fstat(opened.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{file}: it is no file; name another one in the setting feedback")
        if status.st_nlink > 1:
            raise is_link(file)
        fcntl.flock(opened, fcntl.LOCK_EX)
        size = opened.seek(0, os.SEEK_END)
        line = (b"" if ends_with_newline(opened, size) else b"\n") + records.to_json_line(row)
        try:
            while line:
                line = line[opened.write(line) :]
            os.fsync(opened.fileno())
        except OSError:
            os.ftruncate(opened.fileno(), size)
            raise


def is_link(file: Path) -> ValueError:
    return ValueError(
        f"{file}: it is a link, and DVC's cache may change with it; `dvc unprotect {file}` makes it a file"
    )


def ends_with_newline(file: FileIO, size: int) -> bool:
    """Whether a line can begin here."""
    if size == 0:
        return True
    file.seek(size - 1)
    return file.read(1) == b"\n"
