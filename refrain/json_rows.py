"""JSON and JSON Lines as raw rows: what is broken is a row too, with its line and the reason."""

import io
import json
import re
from collections.abc import Generator, Iterable, Iterator
from typing import Any, cast

from refrain.raw import RawRow, undecodable


def lines(file: Iterable[str]) -> Iterator[RawRow]:
    """One row per line that is not blank; a bad line spoils no other."""
    for number, line in enumerate(file, start=1):
        start = beyond_blank(line, 0)
        if start < len(line):
            value, end, error = parsed(line, start)
            if not error and line[end:].strip():
                value, error = None, "not JSON: text after the end of the object"
            yield RawRow(number, value, error)


def document(text: str) -> Iterator[RawRow]:
    """The elements of an array, or of the one list in an object."""
    if re.match(r"\s*\{.*\}\s*\n\s*\{", text):  # objects without commas: JSON Lines that are called .json
        yield from lines(io.StringIO(text, newline="\n"))
        return
    end = start = beyond_blank(text, 0)
    if text.startswith("[", start):
        end = yield from array(text, start)
    elif text.startswith("{", start):
        end = yield from envelope(text, start)
    if text[end:].strip():
        line = 1 + text.count("\n", 0, beyond_blank(text, end))
        yield RawRow(line, error="text outside of the array, up to the end of the file")


def array(text: str, at: int) -> Generator[RawRow, None, int]:
    """A row per element, a broken one and a missing end included; returns where the array ends."""
    line, at, error = 1 + text.count("\n", 0, at), at + 1, ""
    while not text.startswith("]", start := beyond_blank(text, at)):
        line += text.count("\n", at, start)
        if start == len(text):
            if not error:
                yield RawRow(line, error="the file is cut short here")
            return start
        value, end, error = parsed(text, start)
        if error and end == len(text):
            error += ", and nothing after it can be"
        yield RawRow(line, value, error)
        line += text.count("\n", start, end)
        at = beyond_blank(text, end)
        line += text.count("\n", end, at)
        at += text.startswith(",", at)
    return start + 1


def envelope(text: str, at: int) -> Generator[RawRow, None, int]:
    """The elements of the one list among the members; returns where the object ends."""
    lists: list[str] = []
    at = beyond_blank(text, at + 1)
    while at < len(text) and not text.startswith("}", at):
        name, end, error = parsed(text, at)
        if error:
            raise ValueError(f"the object around the rows cannot be read: {error}")
        at = beyond_blank(text, beyond_blank(text, end) + 1)  # past the colon
        if text.startswith("[", at):
            lists.append(name)
            at = yield from array(text, at)
        else:
            at = parsed(text, at)[1]
        at = beyond_blank(text, at)
        at = beyond_blank(text, at + text.startswith(",", at))
    if len(lists) != 1:
        raise ValueError(f"an object must hold one list, its rows, and this one holds {lists or 'none'}")
    return at + 1


def parsed(text: str, at: int) -> tuple[Any, int, str]:
    """A value, where it ends, and why it could not be read."""
    try:
        value, end = DECODER.raw_decode(text, at)
        error = undecodable(text[at:end])
        return None if error else value, end, error
    except RecursionError:
        error = "not JSON that we can read: nested too deeply"
    except json.JSONDecodeError as problem:
        error = f"not JSON: {problem.msg} (character {problem.pos - at + 1} of the row)"
    except ValueError as problem:
        error = f"not JSON: {problem}".split(";")[0]
    return None, beyond_value(text, at), error


def refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


DECODER = json.JSONDecoder(parse_constant=refuse)
BLANK = re.compile(r"[ \t\r\n]*")
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\Z)|[][{},]', re.DOTALL)


def beyond_blank(text: str, at: int) -> int:
    return cast(re.Match[str], BLANK.match(text, at)).end()


def beyond_value(text: str, at: int) -> int:
    """Where an element that cannot be parsed ends, judged by its brackets; else the end of the text."""
    depth = 0
    for token in TOKEN.finditer(text, at):
        if depth <= 0 and token[0] in (",", "]"):
            return token.start()
        depth += (token[0] in ("[", "{")) - (token[0] in ("]", "}"))
    return len(text)
