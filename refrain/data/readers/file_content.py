"""What a file holds by its bytes, whatever its name says: so that a refusal can say what is the matter."""

import csv
import json
from itertools import islice
from typing import NamedTuple

from refrain.data.readers import transcoding

SAMPLE_LINES = 20  # of a text


class FileContent(NamedTuple):
    words: str  # what it is, to be read behind "it holds"
    ending: str | None = None  # of the names that such files have; None: no format that is read


MAGIC = {  # how files begin that are no text
    b"PAR1": FileContent("Parquet", ".parquet"),
    b"ARROW1": FileContent("Arrow", ".arrow"),
    b"\x1f\x8b": FileContent("what gzip has packed"),
    b"\x28\xb5\x2f\xfd": FileContent("what zstd has packed"),
    b"%PDF": FileContent("a PDF"),
    b"{\\rtf": FileContent("a text of a word processor (RTF)"),
    b"\xd0\xcf\x11\xe0": FileContent("a file of old Office programs, such as .xls, or one with a password"),
    b"SQLite format 3": FileContent("a database of SQLite"),
}


TABLES = {  # what stands between cells, how many lines prove it, and the ending
    "\t": ("tabs", 2, ".tsv"),
    ";": ("semicolons", 2, ".csv"),
    "|": ("pipes", 2, ".csv"),
    ",": ("commas", 3, ".csv"),
}


def find_content(head: bytes) -> FileContent | None:
    """What the beginning of a file shows; None where it is empty, or nothing that is known."""
    if magic := next(filter(head.startswith, MAGIC), None):
        return MAGIC[magic]
    if head.startswith(b"PK\x03\x04"):
        return find_package(head)
    encoding = transcoding.find_encoding(head[:4], None)
    text = head.decode(encoding, "replace").removeprefix("\ufeff")
    if "\0" in text:
        return None
    content = find_text(text) if text.strip() else None
    in_words = f" in {encoding.upper()}" if encoding != transcoding.UTF8 else ""
    return content and content._replace(words=content.words + in_words)


def find_package(head: bytes) -> FileContent:
    """A ZIP, or what office programs keep in one; of a long file its end, which lists the members, is not seen."""
    if b"xl/work" in head:
        return FileContent("a workbook", ".xlsx")
    kinds = {b"word/": "a document of a word processor", b"ppt/": "slides", b"content.xml": "an OpenDocument file"}
    words = next((words for part, words in kinds.items() if part in head), None)
    return FileContent(words) if words else FileContent("a ZIP", ".zip")


def find_text(text: str) -> FileContent:
    """JSON, a table, a web page, or plain text."""
    lines = [line for line in islice(text.splitlines(), SAMPLE_LINES) if line.strip()]
    if lines[0].lstrip()[0] in "[{":
        is_by_line = len(lines) > 1 and all(map(is_object, lines[:2]))
        return FileContent("JSON Lines", ".jsonl") if is_by_line else FileContent("JSON", ".json")
    if lines[0].lstrip().startswith("<"):
        return FileContent("a web page or XML")
    for delimiter, (words, least, ending) in TABLES.items():
        widths = {len(cells) for cells in csv.reader(lines, delimiter=delimiter)}
        if len(lines) >= least and len(widths) == 1 and max(widths) > 1:
            return FileContent(f"a table with {words} between cells", ending)
    return FileContent("plain text")


def is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
