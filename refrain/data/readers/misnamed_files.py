"""Files whose names say no format that is read, or another than they hold: what they hold, and what to call them."""

import shlex
from pathlib import Path, PurePosixPath

from refrain.data.readers import file_content, files, raw_rows

PLAIN_TEXT = (
    "plain text, in which nothing tells questions from replies; write them as rows, such as the columns question and "
    "answer of a .csv; a text that a tiny base is to read before fine-tuning is for model.tiny.corpus"
)


def explain_unknown_format(path: Path, name: str) -> str:
    """Why a file is not read that has no known format by its name; the name is as a person wrote it."""
    content = file_content.find_content(read_head(path))
    if content is None:
        return f"{name}: {files.unknown_format()}"
    if content.words.startswith("plain text"):
        return f"{name}: it holds {PLAIN_TEXT}"
    if content.ending is None:
        formats = " ".join(files.FORMATS)
        return f"{name}: it holds {content.words}, which is not read; save or export it as one of {formats}"
    return f"{name}: it holds {content.words}; {rename(name, content.ending)}"


def rename(name: str, ending: str) -> str:
    """The way out for a file whose name says another format than it has."""
    new = str(PurePosixPath(name).with_suffix(ending))
    return f"give it a name that says so: `{shlex.join(['cp', name, new])}`, and name {new} instead"


def read_head(path: Path) -> bytes:
    """The first bytes of a file, or of the file that a path leads to in an archive."""
    if path.is_file() and not files.can_read(path.name):
        with files.open_raw(path) as raw:
            return raw.read(raw_rows.CHUNK_BYTES)
    with files.open_unchanging(path) as content:
        return next(content.chunks(), b"")


def find_other_format(head: bytes, suffix: str, name: str) -> str:
    """That the name of a file says another format than its bytes show, or nothing."""
    content = file_content.find_content(head)
    if content is None or content.ending in alike(suffix) or content.words.startswith("plain text"):
        return ""
    if content.ending is None:
        return f"it holds {content.words}, and no {suffix}; fetch or export it anew"
    return f"it holds {content.words}, and no {suffix}; {rename(name, content.ending)}"


def alike(suffix: str) -> set[str]:
    """The endings that need not be told apart: tables of any delimiter, JSON of one or many lines."""
    groups = ({".csv", ".tsv"}, {".json", ".jsonl", ".ndjson"}, {".arrow", ".feather"})
    return next((group for group in groups if suffix in group), {suffix})
