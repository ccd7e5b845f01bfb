"""CSV and TSV as raw rows: a broken record is a row too, and no cell changes its column."""

from collections.abc import Iterable, Iterator
from itertools import chain

from refrain.data.readers.csv_records import CsvRecord, CsvRecordReader
from refrain.data.readers.raw_rows import BLOCK_ROWS, RawRow, RowBlock, in_blocks

BARE_QUOTE = "a quote in a cell that is not in quotes"


BETWEEN_BROKEN = "not CSV: it stands between broken records, and may be a part of one"


def read_delimited(chunks: Iterable[bytes], delimiter: str) -> Iterator[RowBlock]:
    """One row per record below a header; a record of another width is an error, never shifted.

    A header without a comma but with semicolons is what spreadsheets write where the comma is the decimal point.
    """
    remaining = iter(chunks)
    first = next(remaining, b"")
    header = first.lstrip(b"\r\n").partition(b"\n")[0]
    separator = ";" if delimiter == "," and b"," not in header and b";" in header else delimiter
    return in_blocks(table_rows(CsvRecordReader(chain([first], remaining), separator)))


def table_rows(records: CsvRecordReader) -> Iterator[RawRow]:
    """The records as rows; behind a broken one rows wait, until quotes in their places show that they are no text."""
    header, waiting, in_doubt = list[str](), list[RawRow](), False
    while record := records.read_record():
        first_line = record.lines[0]
        if not (record.cells or record.broken or record.unreadable_reason()):
            continue  # a blank line
        if not header:
            header, names = record.cells, column_names(record)
        elif error := record_error(record, records, header, in_doubt):
            yield from (RawRow(row.line, None, BETWEEN_BROKEN, row.offset) for row in waiting)
            yield RawRow(first_line.number, None, f"not CSV: {error}", first_line.offset)
            waiting, in_doubt = [], True
        else:
            value = dict(zip(names, record.cells, strict=True))
            value.pop("", None)
            waiting.append(RawRow(first_line.number, value, "", first_line.offset))
            records.has_multiline_records |= len(record.lines) > 1
            if (
                not (in_doubt and records.has_multiline_records and record.has_no_quotes())
                or len(waiting) == BLOCK_ROWS
            ):
                yield from waiting
                waiting, in_doubt = [], False
    yield from waiting


def column_names(record: CsvRecord) -> list[str]:
    """The names of a header; a column without one is left out of the rows."""
    names = [cell.strip() for cell in record.cells]
    non_empty = [name for name in names if name]
    repetition = "a name twice" if len(set(non_empty)) < len(non_empty) else ""
    if error := record.broken or record.unreadable_reason() or repetition or ("" if non_empty else "no name"):
        raise ValueError(f"line {record.lines[0].number}: the header holds {error}; correct it")
    return names


def record_error(record: CsvRecord, records: CsvRecordReader, header: list[str], in_doubt: bool) -> str:
    """Why a record is no row, or nothing; the records go on behind the lines that it takes with it."""
    width = len(header)
    if not record.is_suspicious(width):
        has_bare_quote = (in_doubt or records.has_multiline_records) and record.has_bare_quote(records.delimiter)
        return (
            record.broken
            or record.unreadable_reason()
            or width_error(record.cells, header)
            or (BARE_QUOTE if has_bare_quote else "")
        )
    lines = records.claim_lines(record, width)
    first, last = lines[0].number, lines[-1].number
    place = f" (lines {first} to {last})" if last > first else "; the next line stands for itself"
    return (record.broken or f"{len(record.cells)} cells below a header of {width}, or a stray quote") + place


def width_error(cells: list[str], header: list[str]) -> str:
    """Why a record does not belong below the header, or nothing."""
    if len(cells) != len(header):
        return f"{len(cells)} cells below a header of {len(header)}"
    is_repeated_header = cells == header or [cells[0].removeprefix("\ufeff").strip('"'), *cells[1:]] == header
    return "the header once more; were files put together?" if is_repeated_header else ""
