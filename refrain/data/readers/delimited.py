"""CSV and TSV as raw rows: a broken record is a row too, and no cell changes its column."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice

from refrain.data.readers import dialect_detection, raw_rows, recovery
from refrain.data.readers.csv_records import CsvRecord, CsvRecordReader
from refrain.data.readers.dialect_detection import TableFormat
from refrain.data.readers.header_detection import TableColumns
from refrain.data.readers.raw_rows import RawRow, RowBlock, in_blocks
from refrain.pipeline.schema import SourceConfig

BARE_QUOTE = "a quote in a cell that is not in quotes"


BETWEEN_BROKEN = "not CSV: it stands between broken records, and may be a part of one"


def read_blocks(chunks: Iterable[bytes], usual_delimiter: str, source: SourceConfig) -> Iterator[RowBlock]:
    """One row per record below a header; a record of another width is an error, never shifted."""
    lines = raw_rows.split_lines(chunks)
    sample, table = read_format(lines, usual_delimiter, source)
    return in_blocks(table_rows(chain(sample, lines), table))


def read_format(
    lines: Iterator[raw_rows.Line], usual_delimiter: str, source: SourceConfig
) -> tuple[list[raw_rows.Line], TableFormat]:
    """The first lines, and the format that they show."""
    sample = dialect_detection.take_sample(lines)
    return sample, dialect_detection.find_format(sample, usual_delimiter, source)


def describe_format(chunks: Iterable[bytes], usual_delimiter: str, source: SourceConfig) -> str:
    """How the table is read, in words."""
    return read_format(raw_rows.split_lines(chunks), usual_delimiter, source)[1].describe()


def table_rows(lines: Iterator[raw_rows.Line], table: TableFormat) -> Iterator[RawRow]:
    """The records as rows; behind a broken one rows wait as long as they may be lines of its text."""
    records = CsvRecordReader(islice(lines, table.lines_before, None), table.dialect)
    header, names = ([], table.numbered_names()) if not table.has_header else read_header(records, table.columns)
    records.width = table.columns.width
    waiting, in_doubt = list[RawRow](), False
    while names and (record := records.read_record()):
        first_line = record.lines[0]
        if not (record.cells or record.broken or record.unreadable_reason()):
            continue  # a blank line
        has_quote = table.dialect.quote in record.text
        if error := record_error(record, records, header, len(names), in_doubt):
            may_end_text = len(record.lines) == 1 and has_quote and table.dialect.may_close(record.text)
            yield from (between_broken(row) for row in waiting) if may_end_text else waiting
            yield RawRow(first_line.number, None, f"not CSV: {error}", first_line.offset)
            waiting, in_doubt = [], True
            continue
        value = dict(zip(names, record.cells, strict=True))
        value.pop("", None)
        row = RawRow(first_line.number, value, "", first_line.offset)
        records.longest_record = max(records.longest_record, len(record.lines))
        waiting.append(row)
        if not in_doubt or has_quote or len(waiting) > max(1, records.longest_record - 2):
            yield from waiting
            waiting, in_doubt = [], False
    yield from waiting


def between_broken(row: RawRow) -> RawRow:
    return RawRow(row.line, None, BETWEEN_BROKEN, row.offset)


def read_header(records: CsvRecordReader, columns: TableColumns) -> tuple[list[str], list[str]]:
    """The cells of the first record that is not blank, and the names of cells; nothing where there is no record."""
    while record := records.read_record():
        if record.cells or record.broken or record.unreadable_reason():
            return record.cells, columns.align(column_names(record))
    return [], []


def column_names(record: CsvRecord) -> list[str]:
    """The names of a header; a column without one is left out of the rows."""
    names = [cell.strip() for cell in record.cells]
    non_empty = [name for name in names if name]
    repetition = "a name twice" if len(set(non_empty)) < len(non_empty) else ""
    if error := record.broken or record.unreadable_reason() or repetition or ("" if non_empty else "no name"):
        raise ValueError(f"line {record.lines[0].number}: the header holds {error}; correct it")
    return names


def record_error(record: CsvRecord, records: CsvRecordReader, header: list[str], width: int, in_doubt: bool) -> str:
    """Why a record is no row, or nothing; the records go on behind the lines that it takes with it."""
    if not recovery.is_suspicious(record, records, width):
        return (
            record.broken
            or record.unreadable_reason()
            or width_error(record.cells, header, width)
            or bare_quote_error(record, records, in_doubt)
        )
    lines = recovery.claim_lines(record, records, width)
    first, last = lines[0].number, lines[-1].number
    place = f" (lines {first} to {last})" if last > first else "; the next line stands for itself"
    return (record.broken or f"{len(record.cells)} cells in a table of {width} columns, or a stray quote") + place


def width_error(cells: list[str], header: list[str], width: int) -> str:
    """Why a record does not belong below the header, or nothing."""
    if len(cells) != width:
        return f"{len(cells)} cells in a table of {width} columns"
    is_repeated_header = cells == header or [cells[0].removeprefix("\ufeff").strip('"'), *cells[1:]] == header
    return "the header once more; were files put together?" if is_repeated_header else ""


def bare_quote_error(record: CsvRecord, records: CsvRecordReader, in_doubt: bool) -> str:
    """What is wrong with a quote amid a cell where texts have several lines: it may end one that lost its beginning."""
    may_be_text = in_doubt or records.longest_record > 1
    return BARE_QUOTE if may_be_text and records.dialect.has_bare_quote(record.text) else ""
