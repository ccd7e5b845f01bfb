"""Where the table begins in a file of text, whether its first record names the columns, and which cells they name."""

import re
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from refrain.data.readers.csv_records import CsvRecord, RowWidth
from refrain.pipeline.schema import SourceConfig

MAX_LINES_BEFORE = 10  # lines of a title or of comments above a header


MAX_NAME_LENGTH = 60  # of a column


MAX_JUDGED_ROWS = 200  # that a header is compared with


NUMBER = re.compile(r"[-+]?\d[\d.,:/ -]*(?:%|[AaPp][Mm])?")


QUESTION_MARKS, FULL_STOPS = ("?", "？"), (".", "!", "。", "！")  # noqa: RUF001


LONG_TEXT = 120  # characters, of which no name of a column has so many


ID_NAME = re.compile(r"(.*[ _-])?(id|idx|index|key|nr|no|num|number|row|line|#)", re.IGNORECASE)


class TableColumns(NamedTuple):
    """Which cells of a row the names of the header belong to."""

    width: RowWidth
    has_index: bool = False  # the header lacks a name for the first cell, the number of the row

    def align(self, names: list[str]) -> list[str]:
        """A name for each cell of a row, empty for one without a name."""
        return (["", *names] if self.has_index else names)[: self.width.cells]

    def remark(self) -> str:
        """What is unusual about the columns, in words."""
        if self.has_index:
            return ", numbers of rows before the first column"
        return ", rows end with empty cells" if self.width.most > self.width.cells else ""


NO_COLUMNS = TableColumns(RowWidth(0, 0, 0))


def match_columns(records: list[CsvRecord], source: SourceConfig) -> TableColumns:
    """How the rows below a header are as wide as it, where that is certain."""
    if source.header is False:
        return usual_columns(records)
    count, named = len(records[0].cells), len(named_cells(records[0]))
    rows = [record.cells for record in records[1:] if record.cells and not record.broken]
    usual = usual_width(rows, count)
    usual_rows = [cells for cells in rows if len(cells) == usual]
    if usual > count and sum(any(cells[count:]) for cells in usual_rows) <= MAX_UNUSUAL * len(usual_rows):
        return TableColumns(RowWidth(count, named, usual))
    if (
        usual == count + 1
        and is_index([cells[0] for cells in usual_rows])
        and not ID_NAME.fullmatch(records[0].cells[0].strip())
    ):
        return TableColumns(RowWidth(usual, usual, usual), has_index=True)
    return TableColumns(RowWidth(count, named, count))


def named_cells(record: CsvRecord) -> list[str]:
    """The cells of a record without empty ones at its end, and at least one."""
    count = len(record.cells)
    while count > 1 and not record.cells[count - 1].strip():
        count -= 1
    return record.cells[:count]


MAX_UNUSUAL = 0.1  # of the rows, which may be broken


def usual_width(rows: list[list[str]], default: int) -> int:
    """The number of cells that more than half of the rows have, if any has."""
    width, count = Counter(map(len, rows)).most_common(1)[0] if rows else (default, 0)
    return width if count > len(rows) / 2 else default


def is_index(cells: list[str]) -> bool:
    """Whether cells count rows: whole numbers, none of them twice."""
    return len(set(cells)) == len(cells) and all(cell.isdecimal() for cell in cells)


def usual_columns(records: list[CsvRecord]) -> TableColumns:
    """The columns of a table without a header."""
    width = usual_width([record.cells for record in records if not record.broken], len(records[0].cells))
    return TableColumns(RowWidth(width, width, width))


def refuse_other_width(records: list[CsvRecord], columns: TableColumns) -> None:
    """ValueError where no row has a cell for each name of the header, and nothing says which it has."""
    header, *rows = records
    widths = {len(columns.width.fit(record.cells)) for record in rows if not record.broken}
    width = max(widths, default=0)
    if len(rows) > 1 and width > 1 and widths == {width} != {columns.width.cells}:
        raise ValueError(
            f"line {header.lines[0].number}: the header names {columns.width.cells} columns, and each row below it has "
            f"{width} cells; correct the header, or set `header: false` and say in `fields` which of column_1 to "
            f"column_{width} is what"
        )


def find_header(records: list[CsvRecord], source: SourceConfig) -> int:
    """The number of the first record of the table: above it stand a title or comments."""
    first_records, columns = records[: MAX_LINES_BEFORE + 1], set(source.fields.values())
    if columns and source.header is not False:
        for number, record in enumerate(first_records):
            if columns <= {cell.strip() for cell in record.cells}:
                return number
    table = [record for record in records if not record.text.startswith("#")] or records
    widths = Counter(len(record.cells) for record in table if not record.broken)
    if not widths:
        return 0
    usual = max(widths, key=lambda width: (widths[width], width == len(table[0].cells)))
    for number, record in enumerate(first_records):
        has_more, next_record = number + 1 < len(records), records[min(number + 1, len(records) - 1)]
        if usual in (len(record.cells), len(named_cells(record))) and not (
            is_remark(record) and has_names(next_record)
        ):
            is_header = number == 0 or source.header is False or (has_more and has_names(record))
            return number if is_header else 0
        if not stands_above_table(record):
            return 0
    return 0


def is_remark(record: CsvRecord) -> bool:
    """Whether a record as wide as the table is a comment, or a title and empty cells, as spreadsheets write it."""
    is_padded_title = len(record.cells) > 1 and record.cells[0] != "" and not any(record.cells[1:])
    return is_padded_title or (record.text.startswith("#") and not has_names(record))


def stands_above_table(record: CsvRecord) -> bool:
    """Whether a record of another width may be a comment or a title, which does not look like names of columns."""
    return not record.broken and (len(record.cells) == 1 or record.text.startswith("#") or not has_names(record))


def has_names(record: CsvRecord) -> bool:
    """Whether all cells look like names of columns."""
    return len(set(record.cells)) == len(record.cells) and all(
        cell and cell == cell.strip() and len(cell) <= MAX_NAME_LENGTH and not NUMBER.fullmatch(cell)
        and not cell.endswith((*QUESTION_MARKS, *FULL_STOPS))
        for cell in record.cells
    )  # fmt: skip


def has_header(records: list[CsvRecord], table: TableColumns, source: SourceConfig) -> bool:
    """Whether the first record names the columns: unless it looks like the rows below it."""
    header, rows = records[0], [table.width.fit(record.cells) for record in records[1 : MAX_JUDGED_ROWS + 1]]
    if source.header is not None:
        return source.header
    if set(source.fields.values()) & {cell.strip() for cell in header.cells}:
        return True
    columns = list(zip(*(cells for cells in rows if len(cells) == table.width.cells), strict=True))
    pairs = list(zip(table.align(header.cells), columns, strict=False))
    if any(not NUMBER.fullmatch(name) and is_mostly(column, is_number) for name, column in pairs):
        return True
    return not any(is_kind(name) and is_mostly(column, is_kind) for name, column in pairs for is_kind in KINDS_OF_TEXT)


def is_number(cell: str) -> bool:
    return NUMBER.fullmatch(cell) is not None


def is_question(cell: str) -> bool:
    return cell.endswith(QUESTION_MARKS)


def is_sentence(cell: str) -> bool:
    return cell.endswith(FULL_STOPS)


def is_long(cell: str) -> bool:
    return len(cell) > LONG_TEXT


KINDS_OF_TEXT: tuple[Callable[[str], bool], ...] = (is_number, is_question, is_sentence, is_long)


def is_mostly(column: tuple[str, ...], is_kind: Callable[[str], bool]) -> bool:
    return sum(map(is_kind, column)) > len(column) / 2
