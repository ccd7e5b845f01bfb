"""Sheets of a workbook: one is read, by its name or because no other holds rows."""

import openpyxl
import pytest
from raw_files import good

from refrain.data.readers import files
from refrain.pipeline.schema import SourceConfig


@pytest.fixture
def book(tmp_path):
    """Save a workbook of sheets given as rows by name, and give the path."""

    def save(change=lambda book: None, **sheets):
        result = openpyxl.Workbook()
        result.remove(result.active)
        for name, rows in sheets.items():
            sheet = result.create_sheet(name)
            for row in rows:
                sheet.append(row)
        change(result)
        result.save(tmp_path / "x.xlsx")
        return tmp_path / "x.xlsx"

    return save


ROWS = [["question", None, " n "], ["Why?", "no name", 1.50], [], ["How?", None, None]]


def test_rows_are_numbered_as_in_the_sheet_and_blank_ones_are_none(book):
    path = book(FAQ=[[], *ROWS], Notes=[])
    expected = [(3, {"question": "Why?", "n": "1.5"}), (5, {"question": "How?", "n": ""})]
    assert (
        good(files.read_rows(path, SourceConfig())) == good(files.read_rows(path / "FAQ", SourceConfig())) == expected
    )


def test_lines_above_the_header_are_a_title_where_most_rows_are_wider(book):
    title = [["FAQ, as of 2026-11-02"], [], [None, "internal"]]
    rows = [["no", "question", "answer", "seen"], [1, "Why?", "So."], ["a section"], [2, "How?", "So."]]
    assert good(files.read_rows(book(A=title + rows), SourceConfig())) == [
        (5, {"no": "1", "question": "Why?", "answer": "So.", "seen": ""}),
        (6, {"no": "a section", "question": "", "answer": "", "seen": ""}),
        (7, {"no": "2", "question": "How?", "answer": "So.", "seen": ""}),
    ]
    assert good(files.read_rows(book(A=[["text"], ["one"], ["two"]]), SourceConfig())) == [
        (2, {"text": "one"}), (3, {"text": "two"})
    ]  # fmt: skip


def test_of_several_sheets_with_rows_one_must_be_named(book):
    path = book(A=ROWS, B=ROWS, C=[["only a header"]])
    with pytest.raises(ValueError, match=r"its sheets A, B hold rows; choose one beside the path, `sheet: A`"):
        list(files.read_rows(path, SourceConfig()))
    assert len(good(files.read_rows(path / "B", SourceConfig()))) == 2
    with pytest.raises(ValueError, match="it has no sheet D; it has A, B, C"):
        list(files.read_rows(path / "D", SourceConfig()))


def test_a_hidden_sheet_is_read_only_by_name(book):
    path = book(lambda book: setattr(book["B"], "sheet_state", "hidden"), A=ROWS[:2], B=ROWS)
    assert len(good(files.read_rows(path, SourceConfig()))) == 1
    assert len(good(files.read_rows(path / "B", SourceConfig()))) == 2


def test_a_row_that_is_too_wide_or_holds_an_error_costs_itself_alone(book):
    def break_cell(book):
        book["A"]["A3"].data_type = "e"

    path = book(break_cell, A=[["q", "a"], ["1", "2", "3"], ["#REF!", "4"], ["5", "6"]])
    assert [(row.line, row.error or row.value) for row in files.read_rows(path, SourceConfig())] == [
        (2, "3 cells below a header of 2"),
        (3, "its cell A3 is #REF!"),
        (4, {"q": "5", "a": "6"}),
    ]


def test_a_header_that_names_a_column_twice_is_refused(book):
    with pytest.raises(ValueError, match="row 1: the header holds q twice"):
        list(files.read_rows(book(A=[["q", "q"], ["1", "2"]]), SourceConfig()))
