"""Records of a table: which lines make one, and where to read on behind one that is broken.

A stray quote turns all that follows inside out, and the lines of a quoted text may look like records. So behind a
broken record there are two ways: from the next line, or from where the quotes are even. The next lines are believed
only if they make sound records down to where the two ways meet; else the broken record takes all of them with it.
"""

import csv
import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from refrain.data.readers import raw_rows
from refrain.data.readers.raw_rows import MAX_ROW_LENGTH, Line, decoding_error

MAX_LINES = 10_000  # of a record


class CsvRecord(NamedTuple):
    lines: list[Line]
    cells: list[str]
    broken: str  # why the lines are no record
    has_open_quote: bool  # a quote is open where the file or the limit of a record ends

    def is_suspicious(self, width: int) -> bool:
        """Whether its quotes may have taken in lines that are not its own, or left some out."""
        odd = join_lines(self.lines).count('"') % 2 == 1
        if len(self.lines) == 1:
            return bool(self.broken) and odd
        return bool(self.broken) or odd or len(self.cells) != width

    def has_no_quotes(self) -> bool:
        return '"' not in join_lines(self.lines)

    def has_bare_quote(self, delimiter: str) -> bool:
        """Whether a quote stands in a cell that is not in quotes: it may end a text that began lines before."""
        return not self.has_no_quotes() and not WELL_QUOTED[delimiter].fullmatch(join_lines(self.lines))

    def unreadable_reason(self) -> str:
        """Why its text cannot be used, or nothing."""
        return next((line.error for line in self.lines if line.error), "") or decoding_error(join_lines(self.lines))


class CsvRecordReader:
    """The records of a table, one after the other; lines can be put back and read again."""

    def __init__(self, chunks: Iterable[bytes], delimiter: str) -> None:
        csv.field_size_limit(sys.maxsize)
        self.source, self.back, self.delimiter = raw_rows.split_lines(chunks), deque[Line](), delimiter
        self.reader = csv.reader(self, delimiter=delimiter, strict=True)
        self.taken: list[Line] = []
        self.length, self.ended, self.multiline = 0, False, False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """The next line of the record that is read, unless that is too long."""
        self.ended = len(self.taken) == MAX_LINES or self.length > MAX_ROW_LENGTH or not self.pull_line(self.taken)
        if self.ended:
            raise StopIteration
        self.length += len(self.taken[-1].text)
        return self.taken[-1].text

    def pull_line(self, lines: list[Line]) -> bool:
        """Move the next line to the end of these; false at the end of the file."""
        line = self.back.popleft() if self.back else next(self.source, None)
        if line is not None:
            lines.append(line)
        return line is not None

    def read_record(self) -> CsvRecord | None:
        """The lines up to the end of a record, or to where it breaks; a blank line has no cells."""
        self.taken, self.length, self.ended = [], 0, False
        cells, broken = list[str](), ""
        try:
            cells = next(self.reader)
        except StopIteration:
            return None
        except csv.Error as problem:
            broken = "a quote is not closed" if self.ended else str(problem)
        return CsvRecord(self.taken, cells, broken, self.ended)

    def claim_lines(self, record: CsvRecord, width: int) -> list[Line]:
        """The lines that a suspicious record takes with it; the others are read again."""
        lines, closed = record.lines, self.extend_to_even_quotes(record)
        self.back.extendleft(reversed(lines[1:]))
        records = self.read_ahead(len(lines) - 1)
        self.back.extendleft(reversed([line for one in records for line in one.lines]))
        sound = [self.is_sound(one, width) for one in records if one.cells or one.broken]
        whole = width > 1 and len(sound) > (not closed) and sound[-1] and sum(sound) >= 0.9 * len(sound)
        at_end = not closed and is_below_limit(lines)
        if whole and not (at_end and record.has_open_quote and self.multiline):  # or a text was cut short with the file
            return lines[:1]
        for _ in lines[1:]:
            self.back.popleft()
        return lines if closed or at_end else self.skip_to_closing_quote(lines)

    def extend_to_even_quotes(self, record: CsvRecord) -> bool:
        """Whether the quotes of a broken record become even; the lines down to there are then its own."""
        lines, odd = record.lines, join_lines(record.lines).count('"') % 2
        length = len(join_lines(lines))
        while (
            record.broken and not record.has_open_quote and odd and len(lines) < MAX_LINES and length <= MAX_ROW_LENGTH
        ):
            if not self.pull_line(lines):
                break
            length += len(lines[-1].text)
            odd ^= lines[-1].text.count('"') % 2
        return not record.has_open_quote and not (record.broken and odd)

    def is_sound(self, record: CsvRecord, width: int) -> bool:
        return not record.broken and len(record.cells) == width and not record.has_bare_quote(self.delimiter)

    def read_ahead(self, count: int) -> list[CsvRecord]:
        """The records that begin in the next so many lines."""
        records: list[CsvRecord] = []
        while count > 0 and (record := self.read_record()):
            records.append(record)
            count -= len(record.lines)
        return records

    def skip_to_closing_quote(self, lines: list[Line]) -> list[Line]:
        """The first line and that with the closing quote, however far it is."""
        last = lines[-1:]
        while self.pull_line(last):
            del last[0]
            if last[0].text.count('"') % 2:
                break
        return [lines[0], *last]


def join_lines(lines: list[Line]) -> str:
    return "".join(line.text for line in lines)


def is_below_limit(lines: list[Line]) -> bool:
    """Whether a record may have more lines than these."""
    return len(lines) < MAX_LINES and sum(len(line.text) for line in lines) <= MAX_ROW_LENGTH


CELL = r'(?:"[^"]*+(?:""[^"]*+)*+"|[^"{0}\r\n]*+)'


WELL_QUOTED = {sign: re.compile(f"{CELL}(?:{{0}}{CELL})*+[\r\n]*".format(sign)) for sign in (",", ";", "\t")}
