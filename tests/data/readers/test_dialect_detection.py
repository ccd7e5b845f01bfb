"""How a table is written is found from its rows, and can be said."""

import os
import random

import dialect_tables
import pytest
from raw_files import bad, good, read

from refrain.data.readers import files
from refrain.data.readers.raw_rows import RawRow
from refrain.pipeline.schema import SourceConfig


@pytest.mark.parametrize("number", range(len(dialect_tables.DIALECTS)))
def test_every_dialect_is_found_from_the_rows(tmp_path, number):
    dialect = dialect_tables.DIALECTS[number]
    content, rows, _ = dialect_tables.make_table(dialect, 60, (), random.Random(number))
    raws = read(tmp_path, dialect.name, content, **dialect.source)
    assert raws == [RawRow(line, value, "", offset) for _, line, offset, value in rows], dialect


def check_planted_table(folder, seed, count):
    """All good rows but the neighbours of bad ones are there byte for byte, nothing else is, and bad ones are named."""
    dialect, content, rows, bad_rows = dialect_tables.make_broken_table(seed, count)
    raws = read(folder, dialect.name, content, **dialect.source)
    found = {(raw.line, raw.offset, *raw.value.values()) for raw in raws if not raw.error}
    expected = {(line, offset, *value.values()): number for number, line, offset, value in rows}
    neighbours = {number + step for number, _ in bad_rows for step in (-1, 1)}
    assert found <= expected.keys(), (seed, dialect)
    assert {number for row, number in expected.items() if row not in found} <= neighbours, (seed, dialect)
    assert {line for _, line in bad_rows} <= {raw.line for raw in raws if raw.error}, (seed, dialect)


@pytest.mark.parametrize("first", range(0, 60, 15))
def test_bad_rows_cost_themselves_and_their_neighbours(tmp_path, first):
    for seed in range(first, first + 15):
        check_planted_table(tmp_path, seed, 250)


@pytest.mark.slow
def test_bad_rows_cost_themselves_and_their_neighbours_in_large_tables(tmp_path):
    for seed in range(int(os.environ.get("TABLES", "60")), 0, -1):  # 500 have been tried
        check_planted_table(tmp_path, seed, 1000)


def test_what_is_found_is_said_in_words(tmp_path):
    said = {}
    for name, text, encoding in [
        ("a.csv", "sep=;\nquestion;answer\nWhat is fog?;A cloud.\n", "utf-8"),
        ("b.tsv", "question\tanswer\nWhat is fog?\tA cloud.\n", "utf-16"),
        ("c.csv", 'What is fog?|"A \\"low\\", cloud."\nWhat is rain?|Drops.\n', "utf-8"),
        ("d.jsonl", "{}\n", "utf-8"),
    ]:
        (tmp_path / name).write_bytes(text.encode(encoding))
        said[name] = files.describe_format(tmp_path / name, SourceConfig(name))
    assert said == {
        "a.csv": "semicolons between cells, double quotes around them, header in line 2",
        "b.tsv": "tabs between cells, double quotes around them, UTF-16-LE",
        "c.csv": "pipes between cells, double quotes around them, \\ before signs that are text,"
        " no header: its columns are called column_1 to column_2",
        "d.jsonl": "",
    }


@pytest.mark.parametrize(
    "text, source, expected",
    [
        ("a:b\n1:2\n", {"delimiter": ":"}, ["1", "2"]),
        ("a,b\n'1,0',2\n", {"quote": "'"}, ["1,0", "2"]),
        ('a,b\n"1",2\n', {"quote": ""}, ['"1"', "2"]),
        ('a,b\n1^,0,2\n', {"quote": "", "escape": "^"}, ["1,0", "2"]),
        ("a,b\n1\\,2\n", {"escape": ""}, ["1\\", "2"]),
        ("a,b\n1,2\n", {"header": False}, ["a", "b"]),
        ("What?,Why?\nWhen?,Where?\n", {"header": True}, ["When?", "Where?"]),
    ],
)  # fmt: skip
def test_what_a_source_says_of_its_dialect_is_not_looked_for(rows, text, source, expected):
    raws = rows("x.csv", text, **source)
    assert list(raws[0].value.values()) == expected


@pytest.mark.parametrize(
    "text, cells",
    [
        ('a, b\n1, "2, 3"\n', ["1", "2, 3"]),
        ("a; b\n'1';  'it''s; 2'\n", ["1", "it's; 2"]),
        ('a,b\nx,y\n1, "2 \\"3\\",\n 4"\n', ["1", '2 "3",\n 4']),
    ],
)
def test_a_quote_may_follow_on_blanks_behind_a_delimiter(rows, text, cells):
    assert list(rows("x.csv", text)[-1].value.values()) == cells


def test_blanks_before_cells_are_text_where_two_of_a_hundred_rows_say_otherwise(rows):
    raws = rows("x.csv", "a,b\n" + "1, 2\n" * 100 + '1, "2"\n' * 2)
    assert {value["b"] for _, value in good(raws)} == {" 2", ' "2"'}


@pytest.mark.parametrize(
    "lines, value",
    [
        (['"say \\"fog\\", or rain"'] * 4, 'say "fog", or rain'),
        (["'say \"fog\", or rain'"] * 4, 'say "fog", or rain'),
        (['say "fog" or rain'] * 4, 'say "fog" or rain'),
    ],
)
def test_in_one_column_quotes_and_escapes_are_found_too(rows, lines, value):
    assert [row["a"] for _, row in good(rows("x.csv", "\n".join(["a", *lines])))] == [value] * len(lines)


def test_long_cells_leave_enough_rows_to_find_the_dialect(rows):
    lines = ["a,b", *[f"1,{'x' * 9000}"] * 9, *["'1,0',2"] * 9]
    assert good(rows("x.csv", "\n".join(lines)))[-1][1] == {"a": "1,0", "b": "2"}


def test_escapes_of_other_signs_are_text(rows):
    text = 'a,b\n"say \\"x\\", \\frac{1}{2}",\\alpha\n"C:\\\\new","say \\"y\\", z"\n'
    values = [list(value.values()) for _, value in good(rows("x.csv", text))]
    assert values == [['say "x", \\frac{1}{2}', "\\alpha"], ["C:\\new", 'say "y", z']]


def test_a_quote_that_is_never_closed_does_not_make_quotes_text(rows):
    raws = rows("x.csv", "a,b\n" + "1,2\n" * 40 + '3,"4\n' + "5,6\n" * 40)
    assert (len(good(raws)), bad(raws)) == (80, [42])


def test_in_tabs_quotes_that_no_cell_closes_are_text(rows):
    raws = rows("x.tsv", 'a\tb\n"1\t2\n3\t4 "5"\n')
    assert [list(value.values()) for _, value in good(raws)] == [['"1', "2"], ["3", '4 "5"']]
