"""A window on a long JSON text: as much of it as one value needs, and the place in the file."""

import codecs
import re
from collections.abc import Iterable, Iterator
from typing import Any

from refrain import json_rows
from refrain.raw import LIMIT, TOO_LONG, size, undecodable


class Window:
    """As much of a file as a value needs, and the place in the file of where it is read."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.chunks = decoded(chunks)
        self.held, self.begin = "", 0  # what is decoded; the window is a part of it, as an error costs its length
        self.text, self.at, self.line, self.offset = "", 0, 1, 0
        self.show(PIECE)
        self.move(int(self.text.startswith("\ufeff")))

    def show(self, length: int) -> None:
        """Let the window begin where it is read, and reach so far."""
        self.begin += self.at
        while len(self.held) - self.begin < length and (chunk := next(self.chunks, "")):
            self.held, self.begin = self.held[self.begin :] + chunk, 0
        self.text, self.at = self.held[self.begin : self.begin + length], 0

    def more(self) -> bool:
        """Twice as much of the file, so that a long value is not parsed too often; false at the end."""
        rest = len(self.text) - self.at
        self.show(max(PIECE, min(2 * rest, LIMIT + PIECE)))
        return len(self.text) > rest

    def move(self, end: int) -> None:
        passed = self.text[self.at : end]
        self.line, self.offset, self.at = self.line + passed.count("\n"), self.offset + size(passed), end

    def next(self) -> str:
        """The character that is not blank to which the window moves; nothing at the end of the file."""
        while True:
            self.move(json_rows.beyond_blank(self.text, self.at))
            if self.at < len(self.text) or not self.more():
                return self.text[self.at : self.at + 1]

    def value(self) -> tuple[Any, str]:
        """The value that begins here, or why it could not be read; the window moves beyond it."""
        while True:
            value, end, error = json_rows.parsed(self.text, self.at)
            broken, quoted = end == self.at, False
            if broken:
                end, _, quoted = beyond(self.text, self.at)
            unfinished, length = quoted or end == len(self.text), end - self.at
            if not unfinished or length > LIMIT or not self.more():
                break
        end = self.at + length
        if 4 * length > LIMIT and size(self.text[self.at : end]) > LIMIT:
            error = TOO_LONG
        error = error or undecodable(self.text[self.at : end])
        if broken and unfinished:
            self.skip()
            error += "" if self.next() else ", and nothing after it can be"
        else:
            self.move(end)
        if len(self.text) > 4 * PIECE:
            self.show(PIECE)
        return None if error else value, error

    def skip(self) -> None:
        """Go beyond a value that cannot be parsed, without holding it."""
        depth, quoted, more = 0, False, True
        while more:
            end, depth, quoted = beyond(self.text, self.at, depth, quoted)
            self.move(end)
            more = (quoted or end == len(self.text)) and self.more()
        if quoted:
            self.move(len(self.text))


def decoded(chunks: Iterable[bytes]) -> Iterator[str]:
    """The text of the chunks, none of it empty; a byte that is not UTF-8 comes as a lone surrogate."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    yield from filter(None, map(decoder.decode, chunks))
    yield from filter(None, [decoder.decode(b"", True)])


def beyond(text: str, at: int, depth: int = 0, quoted: bool = False) -> tuple[int, int, bool]:
    """Where a value that cannot be parsed ends, judged by its brackets, or the text does; and the state there."""
    if quoted:
        string = REST.match(text, at)
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


PIECE = 1 << 15  # characters of the window, where no value is longer
STRING = r'[^"\\]*+(?:\\.[^"\\]*+)*+("?)'
REST = re.compile(STRING, re.DOTALL)
TOKEN = re.compile(f'"{STRING}|[][{{}},]', re.DOTALL)
