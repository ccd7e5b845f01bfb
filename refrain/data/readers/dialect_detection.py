"""Which dialect a table is written in, found from its first rows: the one that makes most of them whole."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from refrain.data.readers.csv_records import CsvRecord, CsvRecordReader
from refrain.data.readers.dialects import DELIMITERS, Dialect
from refrain.data.readers.raw_rows import Line
from refrain.pipeline.schema import SourceConfig
from refrain.pipeline.source_options import delimiter_of

SAMPLE_LENGTH = 1 << 16  # characters of the first rows


MAX_LINES_BEFORE = 10  # lines of a title or of comments above a header


MAX_NAME_LENGTH = 60  # of a column


SEPARATOR_LINE = re.compile(r'"?sep=([^\r\n"])"?\s*')  # what Excel reads and some programs write for it


MAX_JUDGED_ROWS = 200  # that a header is compared with


NUMBER = re.compile(r"[-+]?\d[\d.,:/ -]*(?:%|[AaPp][Mm])?")


QUESTION_MARKS, FULL_STOPS = ("?", "？"), (".", "!", "。", "！")  # noqa: RUF001


MATERIAL_GAIN = 0.02  # of the rows, and three rows: two bad ones must not change how all others are read


LONG_TEXT = 120  # characters, of which no name of a column has so many


class TableFormat(NamedTuple):
    """What has to be known of a table before its rows can be read."""

    dialect: Dialect
    lines_before: int  # the header or, where there is none, the first row
    width: int
    has_header: bool

    def numbered_names(self) -> list[str]:
        """Names of columns that have none."""
        return [f"column_{number}" for number in range(1, self.width + 1)]

    def describe(self) -> str:
        """In words, as in reports."""
        words = self.dialect.describe()
        if not self.has_header:
            return f"{words}, no header: its columns are called column_1 to column_{self.width}"
        return words + (f", header in line {self.lines_before + 1}" if self.lines_before else "")


class Reading(NamedTuple):
    """What the sample looks like in a dialect."""

    dialect: Dialect
    records: list[CsvRecord]  # from the header on
    sound_count: int

    @property
    def width(self) -> int:
        return len(self.records[0].cells)

    @property
    def share(self) -> float:
        return self.sound_count / len(self.records)


def take_sample(lines: Iterator[Line]) -> list[Line]:
    """The lines that a dialect is found from; all of them where there are few."""
    sample, length = list[Line](), 0
    for line in lines:
        sample.append(line)
        length += len(line.text)
        if length >= SAMPLE_LENGTH:
            break
    return sample


def find_format(sample: list[Line], usual_delimiter: str, source: SourceConfig) -> TableFormat:
    """The dialect in which most rows are whole: the usual one, unless another is clearly better."""
    separator = SEPARATOR_LINE.fullmatch(sample[0].text) if sample else None
    lines = sample[1:] if separator else sample
    delimiter = delimiter_of(source) or (separator[1] if separator else None)
    dialects = candidate_dialects(lines, delimiter, usual_delimiter, source)
    best = choose_reading(lines, dialects, source)
    if best is None:  # there is no record
        return TableFormat(Dialect(delimiter or usual_delimiter), len(sample) - len(lines), 0, True)
    return TableFormat(best.dialect, best.records[0].lines[0].number - 1, best.width, has_header(best, source))


def candidate_dialects(
    lines: list[Line], delimiter: str | None, usual_delimiter: str, source: SourceConfig
) -> Iterator[Dialect]:
    """The dialects that the lines may be written in, the usual one first."""
    text, head = "".join(line.text for line in lines), "".join(line.text for line in lines[: MAX_LINES_BEFORE + 1])
    others = [other for other in DELIMITERS if other != usual_delimiter and other in head]
    quotes = ['"', *(quote for quote, sign in (("", '"'), ("'", "'")) if sign in text)]
    escapes = ["", *(["\\"] if "\\" in text else [])]
    for sign in [usual_delimiter, *others] if delimiter is None else [delimiter]:
        for quote in quotes if source.quote is None else [source.quote]:
            for escape in escapes if source.escape is None else [source.escape]:
                yield Dialect(sign, quote, escape)


def read_sample(lines: list[Line], dialect: Dialect, source: SourceConfig) -> Reading | None:
    """The lines in a dialect, if there is a record in them: what is broken costs one line here."""
    reader, records = CsvRecordReader(iter(lines), dialect), list[CsvRecord]()
    while record := reader.read_record():
        if record.broken and len(record.lines) > 1:
            if record.has_open_quote and len(record.lines) <= reader.longest_record:
                break  # the sample ends within a text
            reader.put_back(record.lines[1:])
            record = record._replace(lines=record.lines[:1])
        elif not record.broken:
            reader.longest_record = max(reader.longest_record, len(record.lines))
        if record.cells or record.broken:
            records.append(record)
    if not records:
        return None
    records = records[find_header(records, source) :]
    width = len(records[0].cells)
    return Reading(dialect, records, sum(is_whole(record, dialect, width) for record in records))


def is_whole(record: CsvRecord, dialect: Dialect, width: int) -> bool:
    """Whether a record is one of the table, and no cell of it stands in quotes of another kind."""
    if record.broken or len(record.cells) != width or dialect.has_bare_quote(record.text):
        return False
    return not any(cell[0] == cell[-1] and cell[0] in "\"'" and len(cell) > 1 for cell in record.cells if cell)


def choose_reading(lines: list[Line], dialects: Iterator[Dialect], source: SourceConfig) -> Reading | None:
    """The first dialect in which there are records, unless another is clearly better."""
    best = None
    for dialect in dialects:
        if best and best.width > 1 and best.share + needed_gain(dialect, best) >= 1:
            continue
        reading = read_sample(lines, dialect, source)
        if reading and (best is None or is_better(reading, best)):
            best = reading
    return best


def is_better(reading: Reading, best: Reading) -> bool:
    """Whether a reading is so much better than the best of those before it that this is no accident."""
    if best.width < 2:
        is_certain = reading.dialect.quote == best.dialect.quote or reading.sound_count >= best.sound_count + 3
        is_other = reading.dialect.delimiter != best.dialect.delimiter
        return reading.width > 1 and reading.share > 0.5 and (is_other or is_certain)
    needed = needed_gain(reading.dialect, best)
    gain = reading.share - best.share
    return reading.width > 1 and gain > needed and (needed != MATERIAL_GAIN or gain * len(reading.records) >= 3)


def needed_gain(dialect: Dialect, best: Reading) -> float:
    """By how much the share of whole records must grow."""
    if dialect.delimiter != best.dialect.delimiter:
        return 0.1
    is_plain_text = (dialect.delimiter, dialect.quote) == ("\t", "")  # where quotes are often text
    return 0.0 if dialect.quote == best.dialect.quote or is_plain_text else MATERIAL_GAIN


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
    usual_width = max(widths, key=lambda width: (widths[width], width == len(table[0].cells)))
    for number, record in enumerate(first_records):
        has_more, next_record = number + 1 < len(records), records[min(number + 1, len(records) - 1)]
        if len(record.cells) == usual_width and not (is_remark(record) and has_names(next_record)):
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


def has_header(reading: Reading, source: SourceConfig) -> bool:
    """Whether the first record names the columns: unless it looks like the rows below it."""
    header, rows = reading.records[0], reading.records[1 : MAX_JUDGED_ROWS + 1]
    if source.header is not None:
        return source.header
    if set(source.fields.values()) & {cell.strip() for cell in header.cells}:
        return True
    columns = list(zip(*(row.cells for row in rows if len(row.cells) == reading.width), strict=True))
    pairs = list(zip(header.cells, columns, strict=False))
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
