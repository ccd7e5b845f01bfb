"""Which dialect a table is written in, found from its first rows: the one that makes most of them whole."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from refrain.data.readers import header_detection
from refrain.data.readers.csv_records import CsvRecord, CsvRecordReader, RowWidth
from refrain.data.readers.dialects import DELIMITERS, Dialect
from refrain.data.readers.header_detection import MAX_LINES_BEFORE, NO_COLUMNS, TableColumns
from refrain.data.readers.raw_rows import Line
from refrain.pipeline.schema import SourceConfig
from refrain.pipeline.source_options import delimiter_of

SAMPLE_LENGTH, SAMPLE_LINES = 1 << 16, 100  # characters and lines of the first rows, at least


MAX_SAMPLE_LENGTH = 1 << 22  # characters, where lines are long


SEPARATOR_LINE = re.compile(r'"?sep=([^\r\n"])"?\s*')  # what Excel reads and some programs write for it


MAX_REREADS = 50  # of the sample, behind records that broke many lines below their first


MATERIAL_GAIN = 0.02  # of the rows, and three rows: two bad ones must not change how all others are read


class TableFormat(NamedTuple):
    """What has to be known of a table before its rows can be read."""

    dialect: Dialect
    lines_before: int  # the header or, where there is none, the first row
    columns: TableColumns
    has_header: bool

    def numbered_names(self) -> list[str]:
        """Names of columns that have none."""
        return [f"column_{number}" for number in range(1, self.columns.width.cells + 1)]

    def describe(self) -> str:
        """In words, as in reports."""
        words = self.dialect.describe()
        if not self.has_header:
            return f"{words}, no header: its columns are called column_1 to column_{self.columns.width.cells}"
        return (
            words + (f", header in line {self.lines_before + 1}" if self.lines_before else "") + self.columns.remark()
        )


class Reading(NamedTuple):
    """What the sample looks like in a dialect."""

    dialect: Dialect
    records: list[CsvRecord]  # from the header on
    columns: TableColumns
    sound_count: int

    @property
    def width(self) -> int:
        return self.columns.width.cells

    @property
    def share(self) -> float:
        return self.sound_count / len(self.records)


def take_sample(lines: Iterator[Line]) -> list[Line]:
    """The lines that a dialect is found from; all of them where there are few."""
    sample, length = list[Line](), 0
    for line in lines:
        sample.append(line)
        length += len(line.text)
        if length >= (SAMPLE_LENGTH if len(sample) >= SAMPLE_LINES else MAX_SAMPLE_LENGTH):
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
        return TableFormat(Dialect(delimiter or usual_delimiter), len(sample) - len(lines), NO_COLUMNS, True)
    has_header = header_detection.has_header(best.records, best.columns, source)
    columns = best.columns if has_header else header_detection.usual_columns(best.records)
    if has_header:
        header_detection.refuse_other_width(best.records, columns)
    return TableFormat(best.dialect, best.records[0].lines[0].number - 1, columns, has_header)


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
            may_skip_space = quote != "" and re.search(f"{re.escape(sign)} +{re.escape(quote)}", text) is not None
            for escape in escapes if source.escape is None else [source.escape]:
                yield from (Dialect(sign, quote, escape, skips) for skips in (False, True)[: 1 + may_skip_space])


def read_sample(lines: list[Line], dialect: Dialect, source: SourceConfig) -> Reading | None:
    """The lines in a dialect, if there is a record in them: what is broken costs one line here."""
    reader, records = CsvRecordReader(iter(lines), dialect), list[CsvRecord]()
    lines_to_reread = MAX_REREADS * len(lines)
    while lines_to_reread > 0 and (record := reader.read_record()):
        if record.broken and len(record.lines) > 1:
            if record.has_open_quote and len(record.lines) <= reader.longest_record:
                break  # the sample ends within a text
            reader.put_back(record.lines[1:])
            lines_to_reread -= len(record.lines)
            record = record._replace(lines=record.lines[:1])
        elif not record.broken:
            reader.longest_record = max(reader.longest_record, len(record.lines))
        if record.cells or record.broken:
            records.append(record)
    if not records:
        return None
    records = records[header_detection.find_header(records, source) :]
    columns = header_detection.match_columns(records, source)
    rows = sum(is_whole(record, dialect, columns.width) for record in records[1:])
    is_header_whole = is_whole(records[0], dialect, RowWidth(*[len(records[0].cells)] * 3))
    return Reading(dialect, records, columns, rows + is_header_whole)


def is_whole(record: CsvRecord, dialect: Dialect, width: RowWidth) -> bool:
    """Whether a record is one of the table, and no cell of it stands in quotes of another kind."""
    if record.broken or len(width.fit(record.cells)) != width.cells or dialect.has_bare_quote(record.text):
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
    if best.width < 2 and reading.width > 1:
        is_certain = reading.dialect.quote == best.dialect.quote or reading.sound_count >= best.sound_count + 3
        is_other = reading.dialect.delimiter != best.dialect.delimiter
        return reading.share > 0.5 and (is_other or is_certain)
    needed = needed_gain(reading.dialect, best)
    gain = reading.share - best.share
    is_certain = needed != MATERIAL_GAIN or gain * len(reading.records) >= 3
    is_certain |= reading.dialect.skips_space and reading.share == 1
    is_as_wide = reading.width > 1 or (best.width < 2 and reading.dialect.delimiter == best.dialect.delimiter)
    return is_as_wide and gain > needed and is_certain


def needed_gain(dialect: Dialect, best: Reading) -> float:
    """By how much the share of whole records must grow."""
    if dialect.delimiter != best.dialect.delimiter:
        return 0.1
    if dialect.skips_space != best.dialect.skips_space:
        return MATERIAL_GAIN
    is_plain_text = (dialect.delimiter, dialect.quote) == ("\t", "")  # where quotes are often text
    return 0.0 if dialect.quote == best.dialect.quote or is_plain_text else MATERIAL_GAIN
