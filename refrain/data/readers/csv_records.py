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
from refrain.data.readers.raw_rows import LIMIT, Line, decoding_error

LINES = 10_000  # of a record


class CsvRecord(NamedTuple):
    lines: list[Line]
    cells: list[str]
    broken: str  # why the lines are no record
    unclosed: bool  # a quote is open where the file or the limit of a record ends

    def suspicious(self, width: int) -> bool:
        """Whether its quotes may have taken in lines that are not its own, or left some out."""
        odd = joined(self.lines).count('"') % 2 == 1
        if len(self.lines) == 1:
            return bool(self.broken) and odd
        return bool(self.broken) or odd or len(self.cells) != width

    def without_quotes(self) -> bool:
        return '"' not in joined(self.lines)

    def bare(self, delimiter: str) -> bool:
        """Whether a quote stands in a cell that is not in quotes: it may end a text that began lines before."""
        return not self.without_quotes() and not WELL_QUOTED[delimiter].fullmatch(joined(self.lines))

    def unreadable(self) -> str:
        """Why its text cannot be used, or nothing."""
        return next((line.error for line in self.lines if line.error), "") or decoding_error(joined(self.lines))


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
        self.ended = len(self.taken) == LINES or self.length > LIMIT or not self.take(self.taken)
        if self.ended:
            raise StopIteration
        self.length += len(self.taken[-1].text)
        return self.taken[-1].text

    def take(self, lines: list[Line]) -> bool:
        """Move the next line to the end of these; false at the end of the file."""
        line = self.back.popleft() if self.back else next(self.source, None)
        if line is not None:
            lines.append(line)
        return line is not None

    def next(self) -> CsvRecord | None:
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

    def part(self, record: CsvRecord, width: int) -> list[Line]:
        """The lines that a suspicious record takes with it; the others are read again."""
        lines, closed = record.lines, self.closed(record)
        self.back.extendleft(reversed(lines[1:]))
        records = self.ahead(len(lines) - 1)
        self.back.extendleft(reversed([line for one in records for line in one.lines]))
        sound = [self.sound(one, width) for one in records if one.cells or one.broken]
        whole = width > 1 and len(sound) > (not closed) and sound[-1] and sum(sound) >= 0.9 * len(sound)
        at_end = not closed and below_limit(lines)
        if whole and not (at_end and record.unclosed and self.multiline):  # or a text was cut short with the file
            return lines[:1]
        for _ in lines[1:]:
            self.back.popleft()
        return lines if closed or at_end else self.skipped(lines)

    def closed(self, record: CsvRecord) -> bool:
        """Whether the quotes of a broken record become even; the lines down to there are then its own."""
        lines, odd = record.lines, joined(record.lines).count('"') % 2
        length = len(joined(lines))
        while record.broken and not record.unclosed and odd and len(lines) < LINES and length <= LIMIT:
            if not self.take(lines):
                break
            length += len(lines[-1].text)
            odd ^= lines[-1].text.count('"') % 2
        return not record.unclosed and not (record.broken and odd)

    def sound(self, record: CsvRecord, width: int) -> bool:
        return not record.broken and len(record.cells) == width and not record.bare(self.delimiter)

    def ahead(self, count: int) -> list[CsvRecord]:
        """The records that begin in the next so many lines."""
        records: list[CsvRecord] = []
        while count > 0 and (record := self.next()):
            records.append(record)
            count -= len(record.lines)
        return records

    def skipped(self, lines: list[Line]) -> list[Line]:
        """The first line and that with the closing quote, however far it is."""
        last = lines[-1:]
        while self.take(last):
            del last[0]
            if last[0].text.count('"') % 2:
                break
        return [lines[0], *last]


def joined(lines: list[Line]) -> str:
    return "".join(line.text for line in lines)


def below_limit(lines: list[Line]) -> bool:
    """Whether a record may have more lines than these."""
    return len(lines) < LINES and sum(len(line.text) for line in lines) <= LIMIT


CELL = r'(?:"[^"]*+(?:""[^"]*+)*+"|[^"{0}\r\n]*+)'


WELL_QUOTED = {sign: re.compile(f"{CELL}(?:{{0}}{CELL})*+[\r\n]*".format(sign)) for sign in (",", ";", "\t")}
