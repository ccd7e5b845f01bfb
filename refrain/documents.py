"""JSON documents as raw rows: the elements of an array, or of the one list in an object, read through a window."""

import re
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from itertools import chain

from refrain import json_rows
from refrain.raw import BOM, LIMIT, RawRow, Rows, gathered
from refrain.window import Window


def blocks(chunks: Iterable[bytes]) -> Iterator[json_rows.Lines | Rows]:
    """The rows of a document, or of JSON Lines that are called .json."""
    chunks, head = iter(chunks), b""
    for chunk in chunks:
        head += chunk
        start = head.removeprefix(BOM).strip()
        if b"\n" in start or start[:1] not in (b"", b"{") or len(head) > LIMIT:
            break
    whole = chain([head], chunks)
    if OBJECTS.match(head.removeprefix(BOM)):
        yield from json_rows.blocks(whole)
    else:
        yield from gathered(numbered(document(Window(whole))))


def numbered(rows: Iterable[RawRow]) -> Iterator[RawRow]:
    """The rows, each with its number among those that begin in its line."""
    line = nth = 0
    for row in rows:
        line, nth = row.line, nth + 1 if row.line == line else 1
        yield row._replace(nth=nth)


def document(window: Window) -> Iterator[RawRow]:
    """The elements of an array, or of the one list in an object."""
    mark = window.next()
    if mark == "[":
        yield from array(window)
    elif mark == "{":
        yield from envelope(window)
    if window.next():
        yield RawRow(window.line, None, "text outside of the array, up to the end of the file", window.offset)
        deque(window.chunks, maxlen=0)  # an archive that is cut short shows it at its end only


def array(window: Window) -> Generator[RawRow, None, bool]:
    """A row per element, a broken one and a missing end included; returns whether the array has an end."""
    error = ""
    window.move(window.at + 1)
    while (mark := window.next()) != "]":
        line, offset = window.line, window.offset
        if not mark:
            if not error:
                yield RawRow(line, None, CUT, offset)
            return False
        value, error = window.value()
        yield RawRow(line, value, error, offset)
        if window.next() == ",":
            window.move(window.at + 1)
    window.move(window.at + 1)
    return True


def envelope(window: Window) -> Iterator[RawRow]:
    """The elements of the one list among the members; ValueError when there is none, or another."""
    lists: list[str] = []
    whole = True
    window.move(window.at + 1)
    while (mark := window.next()) not in ("", "}"):
        name, error = window.value()
        if error or window.next() != ":":
            raise ValueError(f"the object around the rows cannot be read: {error or 'a name has no colon'}; correct it")
        window.move(window.at + 1)
        if window.next() != "[":
            window.value()
        elif lists:
            raise ValueError(f"an object must hold one list, its rows, and this one holds {lists[0]} and {name}")
        else:
            lists.append(name)
            whole = yield from array(window)
        if window.next() == ",":
            window.move(window.at + 1)
    if not lists:
        raise ValueError("an object must hold one list, its rows, and this one holds none; is it JSON Lines (.jsonl)?")
    if not mark and whole:
        yield RawRow(window.line, None, CUT, window.offset)
    window.move(window.at + len(mark))


CUT = "the file is cut short here"
OBJECTS = re.compile(rb"\s*+\{.*\}[ \t\r]*+\n\s*+\{")  # without commas between them
