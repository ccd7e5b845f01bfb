"""A window on a long JSON text: as much of it as one value needs, and the place in the file.

JSON documents as raw rows: the elements of an array, or of the one list in an object, read through a window.
"""

import codecs
import re
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from itertools import chain
from typing import Any

from refrain.data.readers import json_lines
from refrain.data.readers.raw_rows import (
    BOM,
    MAX_ROW_LENGTH,
    TOO_LONG,
    RawRow,
    RowBlock,
    byte_length,
    decoding_error,
    in_blocks,
)


class JsonCursor:
    """As much of a file as a value needs, and the place in the file of where it is read."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.chunks = decode_chunks(chunks)
        self.held, self.begin = "", 0  # what is decoded; the window is a part of it, as an error costs its length
        self.text, self.at, self.line, self.offset = "", 0, 1, 0
        self.load(WINDOW_LENGTH)
        self.advance_to(int(self.text.startswith("\ufeff")))

    def load(self, length: int) -> None:
        """Let the window begin where it is read, and reach so far."""
        self.begin += self.at
        while len(self.held) - self.begin < length and (chunk := next(self.chunks, "")):
            self.held, self.begin = self.held[self.begin :] + chunk, 0
        self.text, self.at = self.held[self.begin : self.begin + length], 0

    def load_more(self) -> bool:
        """Twice as much of the file, so that a long value is not parsed too often; false at the end."""
        rest = len(self.text) - self.at
        self.load(max(WINDOW_LENGTH, min(2 * rest, MAX_ROW_LENGTH + WINDOW_LENGTH)))
        return len(self.text) > rest

    def advance_to(self, end: int) -> None:
        passed = self.text[self.at : end]
        self.line, self.offset, self.at = self.line + passed.count("\n"), self.offset + byte_length(passed), end

    def peek(self) -> str:
        """The character that is not blank to which the window moves; nothing at the end of the file."""
        while True:
            self.advance_to(json_lines.skip_blank(self.text, self.at))
            if self.at < len(self.text) or not self.load_more():
                return self.text[self.at : self.at + 1]

    def read_value(self) -> tuple[Any, str]:
        """The value that begins here, or why it could not be read; the window moves beyond it."""
        while True:
            value, end, error = json_lines.parse_value(self.text, self.at)
            broken, quoted = end == self.at, False
            if broken:
                end, _, quoted = end_of_value(self.text, self.at)
            unfinished, length = quoted or end == len(self.text), end - self.at
            if not unfinished or length > MAX_ROW_LENGTH or not self.load_more():
                break
        end = self.at + length
        if 4 * length > MAX_ROW_LENGTH and byte_length(self.text[self.at : end]) > MAX_ROW_LENGTH:
            error = TOO_LONG
        error = error or decoding_error(self.text[self.at : end])
        if broken and unfinished:
            self.skip_broken_value()
            error += "" if self.peek() else ", and nothing after it can be"
        else:
            self.advance_to(end)
        if len(self.text) > 4 * WINDOW_LENGTH:
            self.load(WINDOW_LENGTH)
        return None if error else value, error

    def skip_broken_value(self) -> None:
        """Go beyond a value that cannot be parsed, without holding it."""
        depth, quoted, more = 0, False, True
        while more:
            end, depth, quoted = end_of_value(self.text, self.at, depth, quoted)
            self.advance_to(end)
            more = (quoted or end == len(self.text)) and self.load_more()
        if quoted:
            self.advance_to(len(self.text))


def decode_chunks(chunks: Iterable[bytes]) -> Iterator[str]:
    """The text of the chunks, none of it empty; a byte that is not UTF-8 comes as a lone surrogate."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    yield from filter(None, map(decoder.decode, chunks))
    yield from filter(None, [decoder.decode(b"", True)])


def end_of_value(text: str, at: int, depth: int = 0, quoted: bool = False) -> tuple[int, int, bool]:
    """Where a value that cannot be parsed ends, judged by its brackets, or the text does; and the state there."""
    if quoted:
        string = STRING_END.match(text, at)
        if string is None or not string[1]:
            return string.end() if string else at, depth, True
        at = string.end()
    for token in TOKEN.finditer(text, at):
        mark = text[token.start()]
        if token[1] == "":  # a string without an end
            return token.end(), depth, True
        if depth <= 0 and mark in (",", "]"):
            return token.start(), depth, False
        depth += (mark in ("[", "{")) - (mark in ("]", "}"))
    return len(text), depth, False


WINDOW_LENGTH = 1 << 15  # characters of the window, where no value is longer


STRING_TAIL = r'[^"\\]*+(?:\\.[^"\\]*+)*+("?)'


STRING_END = re.compile(STRING_TAIL, re.DOTALL)


TOKEN = re.compile(f'"{STRING_TAIL}|[][{{}},]', re.DOTALL)


def read_blocks(chunks: Iterable[bytes]) -> Iterator[json_lines.JsonLinesBlock | RowBlock]:
    """The rows of a document, or of JSON Lines that are called .json."""
    chunks, head = iter(chunks), b""
    for chunk in chunks:
        head += chunk
        start = head.removeprefix(BOM).strip()
        if b"\n" in start or start[:1] not in (b"", b"{") or len(head) > MAX_ROW_LENGTH:
            break
    whole = chain([head], chunks)
    if JSON_LINES_START.match(head.removeprefix(BOM)):
        yield from json_lines.read_blocks(whole)
    else:
        yield from in_blocks(number_in_line(document_rows(JsonCursor(whole))))


def number_in_line(rows: Iterable[RawRow]) -> Iterator[RawRow]:
    """The rows, each with its number among those that begin in its line."""
    line = nth = 0
    for row in rows:
        line, nth = row.line, nth + 1 if row.line == line else 1
        yield row._replace(nth=nth)


def document_rows(window: JsonCursor) -> Iterator[RawRow]:
    """The elements of an array, or of the one list in an object."""
    mark = window.peek()
    if mark == "[":
        yield from array_rows(window)
    elif mark == "{":
        yield from object_rows(window)
    if window.peek():
        yield RawRow(window.line, None, "text outside of the array, up to the end of the file", window.offset)
        deque(window.chunks, maxlen=0)  # an archive that is cut short shows it at its end only


def array_rows(window: JsonCursor) -> Generator[RawRow, None, bool]:
    """A row per element, a broken one and a missing end included; returns whether the array has an end."""
    error = ""
    window.advance_to(window.at + 1)
    while (mark := window.peek()) != "]":
        line, offset = window.line, window.offset
        if not mark:
            if not error:
                yield RawRow(line, None, CUT_SHORT, offset)
            return False
        value, error = window.read_value()
        yield RawRow(line, value, error, offset)
        if window.peek() == ",":
            window.advance_to(window.at + 1)
    window.advance_to(window.at + 1)
    return True


def object_rows(window: JsonCursor) -> Iterator[RawRow]:
    """The elements of the one list among the members; ValueError when there is none, or another."""
    lists: list[str] = []
    whole = True
    window.advance_to(window.at + 1)
    while (mark := window.peek()) not in ("", "}"):
        name, error = window.read_value()
        if error or window.peek() != ":":
            raise ValueError(f"the object around the rows cannot be read: {error or 'a name has no colon'}; correct it")
        window.advance_to(window.at + 1)
        if window.peek() != "[":
            window.read_value()
        elif lists:
            raise ValueError(f"an object must hold one list, its rows, and this one holds {lists[0]} and {name}")
        else:
            lists.append(name)
            whole = yield from array_rows(window)
        if window.peek() == ",":
            window.advance_to(window.at + 1)
    if not lists:
        raise ValueError("an object must hold one list, its rows, and this one holds none; is it JSON Lines (.jsonl)?")
    if not mark and whole:
        yield RawRow(window.line, None, CUT_SHORT, window.offset)
    window.advance_to(window.at + len(mark))


CUT_SHORT = "the file is cut short here"


JSON_LINES_START = re.compile(rb"\s*+\{.*\}[ \t\r]*+\n\s*+\{")  # without commas between them
