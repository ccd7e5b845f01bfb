"""Records of a table: which lines make one."""

import csv
import sys
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from refrain.data.readers.dialects import Dialect
from refrain.data.readers.raw_rows import MAX_ROW_LENGTH, Line, decoding_error

MAX_LINES = 10_000  # of a record


class RowWidth(NamedTuple):
    """How many cells the rows of a table have."""

    cells: int
    fewest: int  # the last columns, which have no name, may be missing
    most: int  # and empty cells stand behind the last column

    def fit(self, cells: list[str]) -> list[str]:
        """The cells of a row, one for each column; as they are where they are too few or too many."""
        if self.cells < len(cells) <= self.most and not any(cells[self.cells :]):
            return cells[: self.cells]
        if len(cells) == self.cells < self.most and not cells[-1]:
            return cells[:-1]  # what ends with a delimiter as all rows do has a cell too few
        return cells + [""] * (self.cells - len(cells)) if len(cells) >= self.fewest else cells


class CsvRecord(NamedTuple):
    lines: list[Line]
    cells: list[str]
    broken: str  # why the lines are no record
    has_open_quote: bool  # a quote is open where the file or the limit of a record ends

    @property
    def text(self) -> str:
        return self.lines[0].text if len(self.lines) == 1 else "".join(line.text for line in self.lines)

    def unreadable_reason(self) -> str:
        """Why its text cannot be used, or nothing."""
        return next((line.error for line in self.lines if line.error), "") or decoding_error(self.text)


class CsvRecordReader:
    """The records of a table, one after the other; lines can be put back and read again."""

    def __init__(self, lines: Iterator[Line], dialect: Dialect) -> None:
        csv.field_size_limit(sys.maxsize)
        self.lines, self.lines_put_back, self.dialect = lines, deque[Line](), dialect
        self.reader = dialect.read_cells(self)
        self.record_lines: list[Line] = []  # of the record that is read
        self.length, self.has_no_more_lines = 0, False  # of that record
        self.longest_record = 1  # lines of the longest sound one so far
        self.width: RowWidth | None = None  # of rows, once that is known

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """The next line of the record that is read, unless that is too long."""
        is_too_long = len(self.record_lines) == MAX_LINES or self.length > MAX_ROW_LENGTH
        self.has_no_more_lines = is_too_long or not self.pull_line(self.record_lines)
        if self.has_no_more_lines:
            raise StopIteration
        text = self.record_lines[-1].text
        self.length += len(text)
        return self.dialect.keep_text(text) if self.dialect.escape else text

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
        if self.width and cells:
            cells = self.width.fit(cells)
        return CsvRecord(self.record_lines, cells, broken, self.has_no_more_lines)

    def read_ahead(self, count: int) -> list[CsvRecord]:
        """The records that begin in the next so many lines, which are read again afterwards."""
        records: list[CsvRecord] = []
        while count > 0 and (record := self.read_record()):
            records.append(record)
            count -= len(record.lines)
        self.put_back([line for record in records for line in record.lines])
        return records
