"""Where to read on behind a broken record of a table.

A stray quote turns all that follows inside out, and the lines of a quoted text may look like records. So behind a
broken record there are two ways: from the next line, or from where the quotes are even. The next lines are believed
if they make sound records down to where the two ways meet; else the broken record takes all of them with it. No text
is thought to be longer than those that were read before it, so that what a record takes is never many rows.
"""

from refrain.data.readers.csv_records import MAX_LINES, CsvRecord, CsvRecordReader
from refrain.data.readers.raw_rows import MAX_ROW_LENGTH, Line

SOUND_SHARE = 0.9  # of the lines behind a broken record, if they are to be believed; one may be unsound always


SHORT_TEXT = 3  # lines that a broken text may have, however short those before it were


def is_suspicious(record: CsvRecord, records: CsvRecordReader, width: int) -> bool:
    """Whether its quotes may have taken in lines that are not its own, or left some out."""
    if len(record.lines) == 1:
        return bool(record.broken) and records.dialect.has_odd_quotes(record.text)
    return bool(record.broken) or len(record.cells) != width or records.dialect.has_odd_quotes(record.text)


def claim_lines(record: CsvRecord, records: CsvRecordReader, width: int) -> list[Line]:
    """The lines that a suspicious record takes with it; the others are read again."""
    has_even_quotes, lines = extend_to_even_quotes(record, records), record.lines
    records.put_back(lines[1:])
    if has_believable_lines(lines, records, width, has_even_quotes):
        return lines[:1]
    for _ in lines[1:]:
        records.lines_put_back.popleft()
    is_at_end = not has_even_quotes and is_below_limit(lines)
    return lines if has_even_quotes or is_at_end else skip_to_closing_quote(lines, records)


def extend_to_even_quotes(record: CsvRecord, records: CsvRecordReader) -> bool:
    """Give a broken record the lines down to where its quotes are even; whether they are in the end."""
    lines, has_odd_quotes = record.lines, records.dialect.has_odd_quotes
    is_odd = has_odd_quotes(record.text)
    if record.has_open_quote or not (record.broken and is_odd):
        return not record.has_open_quote
    length = len(record.text)
    while is_odd and len(lines) < MAX_LINES and length <= MAX_ROW_LENGTH and records.pull_line(lines):
        length += len(lines[-1].text)
        is_odd ^= has_odd_quotes(lines[-1].text)
    return not is_odd


def has_believable_lines(lines: list[Line], records: CsvRecordReader, width: int, has_even_quotes: bool) -> bool:
    """Whether the lines behind the first one are records by themselves, and not the rest of a broken text."""
    next_records = [record for record in records.read_ahead(len(lines) - 1) if record.cells or record.broken]
    are_sound = [is_sound(record, records, width) for record in next_records]
    if not has_even_quotes:  # then a single record proves nothing
        is_text_cut_short = is_below_limit(lines) and len(lines) <= records.longest_record
        return len(are_sound) > 1 and is_mostly_true(are_sound) and not is_text_cut_short
    if not are_sound or not is_mostly_true(are_sound[:-1]):
        return False
    if are_sound[-1]:
        return True
    quote = records.dialect.quote
    line = next((line.text for line in lines[1:] if quote in line.text), "")
    is_long = len(lines) > max(SHORT_TEXT, records.longest_record)
    return (is_long and len(next_records[-1].lines) == 1) or not records.dialect.may_close(line)


def is_sound(record: CsvRecord, records: CsvRecordReader, width: int) -> bool:
    return not record.broken and len(record.cells) == width and not records.dialect.has_bare_quote(record.text)


def is_mostly_true(claims: list[bool]) -> bool:
    return len(claims) - sum(claims) <= max(1, (1 - SOUND_SHARE) * len(claims))


def is_below_limit(lines: list[Line]) -> bool:
    """Whether a record may have more lines than these."""
    return len(lines) < MAX_LINES and sum(len(line.text) for line in lines) <= MAX_ROW_LENGTH


def skip_to_closing_quote(lines: list[Line], records: CsvRecordReader) -> list[Line]:
    """The first line and that with the closing quote, however far it is."""
    last = lines[-1:]
    while records.pull_line(last):
        del last[0]
        if records.dialect.has_odd_quotes(last[0].text):
            break
    return [lines[0], *last]
