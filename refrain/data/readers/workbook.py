"""Excel workbooks as raw rows: one sheet, its header below a title perhaps, each cell as a person sees it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from typing import IO, Any, NamedTuple
from zipfile import BadZipFile

from refrain.data.readers import archives
from refrain.data.readers.cell_text import cell_text
from refrain.data.readers.header_detection import MAX_JUDGED_ROWS, MAX_LINES_BEFORE
from refrain.data.readers.raw_rows import RawRow, RowBlock, in_blocks

MAX_ROWS = 1 << 20  # of a sheet, in any spreadsheet


OLD_OFFICE = b"\xd0\xcf\x11\xe0"  # begins .xls, and an .xlsx with a password


def read_sheet(file: IO[bytes], sheet: str) -> Iterator[RowBlock]:
    """The rows of a sheet, or of the only one that holds any."""
    with open_workbook(file) as book:
        yield from in_blocks(number_rows(choose_sheet(book, sheet)))


@contextmanager
def open_workbook(file: IO[bytes]) -> Iterator[Any]:
    """A workbook whose cells are read when they are wanted; formulas are the values that were saved with them."""
    head = file.read(len(OLD_OFFICE))
    file.seek(0)
    if head == OLD_OFFICE:
        raise ValueError("not XLSX but .xls, or protected with a password; save it as .xlsx without one")
    with archives.open_zip(file) as archive:
        packed = [(info.compress_size, info.file_size) for info in archive.infolist()]
        archives.refuse_bomb(*map(sum, zip(*packed, strict=True)))
    import openpyxl  # needed by this format only

    warnings.filterwarnings("ignore", module="openpyxl")  # of drawings and rules that are no rows
    try:
        yield openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
    except (ValueError, BadZipFile):
        raise
    except Exception as error:  # what it meets in a broken file it does not name
        raise OSError(f"not a whole workbook ({type(error).__name__}: {error})") from error


def choose_sheet(book: Any, name: str) -> Any:
    """The sheet of this name; without one, the only visible sheet with rows."""
    sheets = {sheet.title: sheet for sheet in book.worksheets}
    if name:
        if name not in sheets:
            raise ValueError(f"it has no sheet {name}; it has {', '.join(sheets)}")
        return sheets[name]
    visible = [sheet for sheet in sheets.values() if sheet.sheet_state == "visible"]
    filled = [sheet.title for sheet in visible if next(number_rows(sheet), None)]
    if len(filled) > 1:
        raise ValueError(f"its sheets {', '.join(filled)} hold rows; choose one beside the path, `sheet: {filled[0]}`")
    return sheets[filled[0] if filled else next(iter(sheets))]


def number_rows(sheet: Any) -> Iterator[RawRow]:
    """The rows below the header, by their number in the sheet; blank ones are none."""
    rows = filled_rows(sheet)
    first_rows = list(islice(rows, MAX_JUDGED_ROWS))
    if not first_rows:
        return
    start = count_title_rows(first_rows)
    names = column_names(first_rows[start].texts, first_rows[start].number)
    for number, texts, fault in chain(first_rows[start + 1 :], rows):
        if fault:
            yield RawRow(number, error=f"its cell {fault}")
        elif len(texts) > len(names):
            yield RawRow(number, error=f"{len(texts)} cells below a header of {len(names)}")
        else:
            cells = texts + [""] * (len(names) - len(texts))
            yield RawRow(number, {name: text for name, text in zip(names, cells, strict=True) if name})


class SheetRow(NamedTuple):
    """A row with text in some cell: its number, the texts up to the last of them, and the first error."""

    number: int
    texts: list[str]
    fault: str


def filled_rows(sheet: Any) -> Iterator[SheetRow]:
    sheet.reset_dimensions()  # programs write wrong ones
    for number, cells in enumerate(sheet.rows, 1):
        if number > MAX_ROWS:
            raise ValueError(f"a sheet of more than {MAX_ROWS:,} rows; the file is no workbook that a program saved")
        texts = [cell_text(cell.value, cell.number_format) if cell.value is not None else "" for cell in cells]
        while texts and not texts[-1]:
            texts.pop()
        faults = [f"{cell.coordinate} is {cell.value}" for cell in cells if cell.value and cell.data_type == "e"]
        if texts:
            yield SheetRow(number, texts, faults[0] if faults else "")


def count_title_rows(rows: list[SheetRow]) -> int:
    """How many rows above the header have one cell, where most rows have more: a title, a date, a remark."""
    is_wide = [sum(map(bool, row.texts)) > 1 for row in rows]
    title_rows = is_wide.index(True) if any(is_wide) else 0
    is_title = title_rows <= MAX_LINES_BEFORE and 2 * sum(is_wide) > len(rows) - title_rows
    return title_rows if is_title else 0


def column_names(texts: list[str], number: int) -> list[str]:
    """The names of the columns, of which none may be there twice."""
    names = [text.strip() for text in texts]
    if repeated := [name for name in names if name and names.count(name) > 1]:
        raise ValueError(f"row {number}: the header holds {repeated[0]} twice; correct it")
    return names
