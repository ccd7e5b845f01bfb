"""What may be the matter with a file as a whole, and what to write: found from its bytes, said in a person's words."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from refrain.data.readers import encoding_guess, files, misnamed_files, text_formats, transcoding
from refrain.data.sources import SourceFile
from refrain.pipeline.schema import DataConfig, SourceConfig

MAX_SHOWN = 40  # characters of a text in the encoding that it may have


@contextmanager
def explain_errors(file: SourceFile, data: DataConfig) -> Iterator[None]:
    """Errors of a file as a whole that say what is the matter with it, where its bytes show that."""
    try:
        yield
    except ValueError as error:
        if problem := find_problem(file, data):
            raise ValueError(f"{file.config.path}: {problem}") from error
        raise


def find_problem(file: SourceFile, data: DataConfig) -> str | None:
    """What makes rows unreadable, with the way out; None where the bytes do not show it."""
    source = replace(file.config, path=path_from_here(file, data))
    try:
        head = misnamed_files.read_head(file.path)
    except (ValueError, OSError):  # what is wrong was said by whoever read the rows
        return None
    is_text, suffix = files.is_text(file.path.name), files.format_suffix(file.path.name)
    return (
        (is_text and find_encoding_problem(head, source)) or misnamed_files.find_other_format(head, suffix, source.path)
        or (suffix in text_formats.DELIMITERS and find_delimiter_problem(head, suffix, source)) or None
    )  # fmt: skip


def explain_emptiness(file: SourceFile, data: DataConfig) -> str:
    """Why a file has no row, with the way out."""
    name, head = file.config.path, misnamed_files.read_head(file.path)
    if not head:
        return f"{name} is empty (0 bytes); write rows into it, or name another file"
    if problem := find_problem(file, data):
        return f"{name}: {problem}"
    if files.format_suffix(file.path.name) in (*text_formats.DELIMITERS, ".xlsx"):
        return f"{name} has no row below its header; write rows into it, or name another file"
    return f"{name} holds no row; write rows into it, or name another file"


def path_from_here(file: SourceFile, data: DataConfig) -> str:
    """The path of the source of a file, as a person at the root of the repository would type it."""
    source = file.config
    return source.path if source.hub else str(Path(data.folder, Path(source.path.partition(": ")[0]).expanduser()))


def find_encoding_problem(head: bytes, source: SourceConfig) -> str:
    """What is the matter with the bytes of a text, or nothing."""
    encoding = transcoding.find_encoding(head[:4], source.encoding)
    guess = encoding_guess.guess_encoding(head) if encoding == transcoding.UTF8 else None
    if guess is None:
        return ""
    shown = first_text_beyond_ascii(head[: head.rfind(b"\n") + 1 or None].decode(guess))
    return (f"its bytes are not UTF-8, but most likely {guess.upper()}, in which it says {shown!r}; write "
            f"`encoding: {guess}` beside its path: {look_again(replace(source, encoding=guess))}")  # fmt: skip


def first_text_beyond_ascii(text: str) -> str:
    """Where a text first needs an encoding, with what stands around it in its line."""
    place = next((place for place, sign in enumerate(text) if not sign.isascii()), 0)
    start = max(text.rfind("\n", 0, place) + 1, place - MAX_SHOWN // 2)
    return text[start : start + MAX_SHOWN].partition("\n")[0].strip()


def find_delimiter_problem(head: bytes, suffix: str, source: SourceConfig) -> str:
    """That what a person says of a table is not what its rows show, or nothing."""
    said = [name for name in ("delimiter", "quote", "escape", "header") if getattr(source, name) is not None]
    if not said:
        return ""
    free = replace(source, delimiter=None, quote=None, escape=None, header=None)
    try:
        found = text_formats.describe(iter([head]), suffix, free)
        if found == text_formats.describe(iter([head]), suffix, source):
            return ""
    except ValueError:
        return ""
    return (f"its rows have {found}, which is not what {' and '.join(f'`{name}`' for name in said)} beside its path "
            f"says; take that out: {look_again(free)}")  # fmt: skip


def look_again(source: SourceConfig) -> str:
    """The command that shows a file as it would then be read, and the line that trains on it."""
    defaults = vars(SourceConfig())
    words = [] if source.hub else [source.path]
    for name, value in vars(source).items():
        if isinstance(value, dict):
            words += [f"{name}.{key}={column}" for key, column in value.items()]
        elif name != "path" and value != defaults[name]:
            words.append(f"{name}={str(value).lower() if isinstance(value, bool) else value}")
    return f"`{shlex.join(['refrain', 'data', *words])}` shows its rows then"
