"""JSON documents as raw rows: the elements of an array, or of the one list in an object, read in bounded memory."""

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

WINDOW_LENGTH = 1 << 15  # characters of the window, where no value is longer


CUT_SHORT = "the file is cut short here"


JSON_LINES_START = re.compile(rb"\s*+\{.*\}[ \t\r]*+\n\s*+\{")  # objects without commas between them


TASK_START = re.compile(rb'\s*+\{\s*+"(?:Contributors|Definition)"\s*+:')


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
    all_chunks = chain([head], chunks)
    if JSON_LINES_START.match(head.removeprefix(BOM)):
        yield from json_lines.read_blocks(all_chunks)
    else:
        cursor = JsonCursor(all_chunks)
        rows = whole_row(cursor) if is_task(head) else document_rows(cursor)
        yield from in_blocks(number_in_line(rows))


def is_task(head: bytes) -> bool:
    """Whether an object is a row by itself, though it holds several lists: a task of Natural Instructions."""
    return TASK_START.match(head.removeprefix(BOM)) is not None and b'"Positive Examples"' in head


def whole_row(cursor: "JsonCursor") -> Iterator[RawRow]:
    cursor.peek()
    line, offset = cursor.line, cursor.offset
    value, error = cursor.read_value()
    yield RawRow(line, value, error, offset)


def number_in_line(rows: Iterable[RawRow]) -> Iterator[RawRow]:
    """The rows, each with its number among those that begin in its line."""
    line = nth = 0
    for row in rows:
        line, nth = row.line, nth + 1 if row.line == line else 1
        yield row._replace(nth=nth)


def document_rows(cursor: "JsonCursor") -> Iterator[RawRow]:
    """The elements of an array, or of the one list in an object."""
    mark = cursor.peek()
    if mark == "[":
        yield from array_rows(cursor)
    elif mark == "{":
        yield from object_rows(cursor)
    if cursor.peek():
        yield RawRow(cursor.line, None, "text outside of the array, up to the end of the file", cursor.offset)
        deque(cursor.chunks, maxlen=0)  # an archive that is cut short shows it at its end only


def array_rows(cursor: "JsonCursor") -> Generator[RawRow, None, bool]:
    """A row per element, a broken one and a missing end included; returns whether the array has an end."""
    error = ""
    cursor.skip_mark("[")
    while (mark := cursor.peek()) != "]":
        line, offset = cursor.line, cursor.offset
        if not mark:
            if not error:
                yield RawRow(line, None, CUT_SHORT, offset)
            return False
        value, error = cursor.read_value()
        yield RawRow(line, value, error, offset)
        cursor.skip_mark(",")
    cursor.skip_mark("]")
    return True


def object_rows(cursor: "JsonCursor") -> Iterator[RawRow]:
    """The elements of the one list among the members; ValueError when there is none, or another."""
    lists: list[str] = []
    has_end = True
    cursor.skip_mark("{")
    while (mark := cursor.peek()) not in ("", "}"):
        name, error = cursor.read_value()
        if error or not cursor.skip_mark(":"):
            raise ValueError(f"the object around the rows cannot be read: {error or 'a name has no colon'}; correct it")
        if cursor.peek() != "[":
            cursor.read_value()
        elif lists:
            raise ValueError(f"an object must hold one list, its rows, and this one holds {lists[0]} and {name}")
        else:
            lists.append(name)
            has_end = yield from array_rows(cursor)
        cursor.skip_mark(",")
    if not lists:
        raise ValueError("an object must hold one list, its rows, and this one holds none; is it JSON Lines (.jsonl)?")
    if not mark and has_end:
        yield RawRow(cursor.line, None, CUT_SHORT, cursor.offset)
    cursor.skip_mark("}")


class JsonCursor:
    """A place in a long JSON text, and a window from there on: as much of the text as one value needs."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.chunks = decode_chunks(chunks)
        self.decoded, self.start = "", 0  # the window is a part of what is decoded, as an error costs its length
        self.text, self.at, self.line, self.offset = "", 0, 1, 0
        self.load(WINDOW_LENGTH)
        self.advance_to(int(self.text.startswith("\ufeff")))

    def load(self, length: int) -> None:
        """Let the window begin at the cursor, and reach so far."""
        self.start += self.at
        while len(self.decoded) - self.start < length and (chunk := next(self.chunks, "")):
            self.decoded, self.start = self.decoded[self.start :] + chunk, 0
        self.text, self.at = self.decoded[self.start : self.start + length], 0

    def load_more(self) -> bool:
        """Twice as much of the file, so that a long value is not parsed too often; false at the end."""
        length = len(self.text) - self.at
        self.load(max(WINDOW_LENGTH, min(2 * length, MAX_ROW_LENGTH + WINDOW_LENGTH)))
        return len(self.text) > length

    def advance_to(self, end: int) -> None:
        passed = self.text[self.at : end]
        self.line, self.offset, self.at = self.line + passed.count("\n"), self.offset + byte_length(passed), end

    def peek(self) -> str:
        """The next character that is not blank, to which the cursor moves; nothing at the end of the file."""
        while True:
            self.advance_to(json_lines.skip_blank(self.text, self.at))
            if self.at < len(self.text) or not self.load_more():
                return self.text[self.at : self.at + 1]

    def skip_mark(self, mark: str) -> bool:
        """Go beyond the next character that is not blank, if it is this one."""
        is_next = self.peek() == mark
        if is_next:
            self.advance_to(self.at + 1)
        return is_next

    def read_value(self) -> tuple[Any, str]:
        """The value that begins here, or why it could not be read; the cursor moves beyond it."""
        value, end, error, is_cut_off = self.find_value()
        error = check_text(self.text[self.at : end], error)
        if is_cut_off:
            self.skip_broken_value()
            error += "" if self.peek() else ", and nothing after it can be"
        else:
            self.advance_to(end)
        if len(self.text) > 4 * WINDOW_LENGTH:
            self.load(WINDOW_LENGTH)
        return None if error else value, error

    def find_value(self) -> tuple[Any, int, str, bool]:
        """The value that begins here, its end, and why it cannot be parsed; last whether its end is not in sight."""
        while True:
            value, end, error = json_lines.parse_value(self.text, self.at)
            is_broken, is_quoted = end == self.at, False
            if is_broken:
                end, _, is_quoted = end_of_value(self.text, self.at)
            length, may_go_on = end - self.at, is_quoted or end == len(self.text)
            if not may_go_on or length > MAX_ROW_LENGTH or not self.load_more():  # which moves the window
                return value, self.at + length, error, is_broken and may_go_on

    def skip_broken_value(self) -> None:
        """Go beyond a value that cannot be parsed, without holding it."""
        depth, is_quoted, goes_on = 0, False, True
        while goes_on:
            end, depth, is_quoted = end_of_value(self.text, self.at, depth, is_quoted)
            self.advance_to(end)
            goes_on = (is_quoted or end == len(self.text)) and self.load_more()
        if is_quoted:
            self.advance_to(len(self.text))


def decode_chunks(chunks: Iterable[bytes]) -> Iterator[str]:
    """The text of the chunks, none of it empty; a byte that is not UTF-8 comes as a lone surrogate."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    yield from filter(None, map(decoder.decode, chunks))
    yield from filter(None, [decoder.decode(b"", True)])


def check_text(text: str, error: str) -> str:
    """Why a value cannot be used: it is too long, or could not be parsed, or its text could not be decoded."""
    if 4 * len(text) > MAX_ROW_LENGTH and byte_length(text) > MAX_ROW_LENGTH:
        return TOO_LONG
    return error or decoding_error(text)


def end_of_value(text: str, at: int, depth: int = 0, is_quoted: bool = False) -> tuple[int, int, bool]:
    """Where a value that cannot be parsed ends, judged by its brackets, or the text does; and the state there."""
    if is_quoted:
        tail = STRING_END.match(text, at)
        if tail is None or not tail[1]:
            return tail.end() if tail else at, depth, True
        at = tail.end()
    for token in TOKEN.finditer(text, at):
        mark = text[token.start()]
        if token[1] == "":  # a string without an end
            return token.end(), depth, True
        if depth <= 0 and mark in (",", "]"):
            return token.start(), depth, False
        depth += (mark in ("[", "{")) - (mark in ("]", "}"))
    return len(text), depth, False
