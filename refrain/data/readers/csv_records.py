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


SOUND_SHARE = 0.9  # of the lines behind a broken record, if they are to be believed


class CsvRecord(NamedTuple):
    lines: list[Line]
    cells: list[str]
    broken: str  # why the lines are no record
    has_open_quote: bool  # a quote is open where the file or the limit of a record ends

    def is_suspicious(self, width: int) -> bool:
        """Whether its quotes may have taken in lines that are not its own, or left some out."""
        has_odd_quotes = join_lines(self.lines).count('"') % 2 == 1
        if len(self.lines) == 1:
            return bool(self.broken) and has_odd_quotes
        return bool(self.broken) or has_odd_quotes or len(self.cells) != width

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
        self.lines, self.lines_put_back, self.delimiter = raw_rows.split_lines(chunks), deque[Line](), delimiter
        self.reader = csv.reader(self, delimiter=delimiter, strict=True)
        self.record_lines: list[Line] = []  # of the record that is read
        self.length, self.has_no_more_lines = 0, False  # of that record
        self.has_multiline_records = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """The next line of the record that is read, unless that is too long."""
        is_too_long = len(self.record_lines) == MAX_LINES or self.length > MAX_ROW_LENGTH
        self.has_no_more_lines = is_too_long or not self.pull_line(self.record_lines)
        if self.has_no_more_lines:
            raise StopIteration
        self.length += len(self.record_lines[-1].text)
        return self.record_lines[-1].text

    def pull_line(self, lines: list[Line]) -> bool:
        """Move the next line to the end of these; false at the end of the file."""
        line = self.lines_put_back.popleft() if self.lines_put_back else next(self.lines, None)
        if line is not None:
            lines.append(line)
        return line is not None

    def put_back(self, lines: list[Line]) -> None:
        """Let these lines be read next."""
        self.lines_put_back.extendleft(reversed(lines))

    def read_record(self) -> CsvRecord | None:
        """The lines up to the end of a record, or to where it breaks; a blank line has no cells."""
        self.record_lines, self.length, self.has_no_more_lines = [], 0, False
        cells, broken = list[str](), ""
        try:
            cells = next(self.reader)
        except StopIteration:
            return None
        except csv.Error as error:
            broken = "a quote is not closed" if self.has_no_more_lines else str(error)
        return CsvRecord(self.record_lines, cells, broken, self.has_no_more_lines)

    def claim_lines(self, record: CsvRecord, width: int) -> list[Line]:
        """The lines that a suspicious record takes with it; the others are read again."""
        has_even_quotes, lines = self.extend_to_even_quotes(record), record.lines
        is_at_end = not has_even_quotes and is_below_limit(lines)
        text_may_be_cut_short = is_at_end and record.has_open_quote and self.has_multiline_records
        self.put_back(lines[1:])
        if self.next_lines_are_sound(len(lines) - 1, width, has_even_quotes) and not text_may_be_cut_short:
            return lines[:1]
        for _ in lines[1:]:
            self.lines_put_back.popleft()
        return lines if has_even_quotes or is_at_end else self.skip_to_closing_quote(lines)

    def extend_to_even_quotes(self, record: CsvRecord) -> bool:
        """Give a broken record the lines down to where its quotes are even; whether they are in the end."""
        lines, is_odd = record.lines, join_lines(record.lines).count('"') % 2
        if record.has_open_quote or not (record.broken and is_odd):
            return not record.has_open_quote
        length = len(join_lines(lines))
        while is_odd and len(lines) < MAX_LINES and length <= MAX_ROW_LENGTH and self.pull_line(lines):
            length += len(lines[-1].text)
            is_odd ^= lines[-1].text.count('"') % 2
        return not is_odd

    def next_lines_are_sound(self, count: int, width: int, has_even_quotes: bool) -> bool:
        """Whether the next lines make sound records, the last one and nearly all; they are read again afterwards.

        Where the quotes do not become even, a single record proves nothing.
        """
        records = self.read_ahead(count)
        self.put_back([line for record in records for line in record.lines])
        are_sound = [self.is_sound(record, width) for record in records if record.cells or record.broken]
        fewest = 1 if has_even_quotes else 2
        return (
            width > 1 and len(are_sound) >= fewest and are_sound[-1] and sum(are_sound) >= SOUND_SHARE * len(are_sound)
        )

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


WELL_QUOTED = {
    delimiter: re.compile(f"{CELL}(?:{{0}}{CELL})*+[\r\n]*".format(delimiter)) for delimiter in (",", ";", "\t")
}
