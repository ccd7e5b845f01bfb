"""Files as they are found: broken, cut short, zipped, with strange line ends."""

import gzip
import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from refrain import files, records
from refrain.files import RawRow


@pytest.fixture
def rows(tmp_path):
    """Write bytes or text under a name and read them back as raw rows."""

    def read(name, content):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return list(files.rows(path))

    return read


def good(raws):
    return [(raw.line, raw.value) for raw in raws if not raw.error]


def bad(raws):
    return [raw.line for raw in raws if raw.error]


# JSON Lines


@pytest.mark.parametrize(
    "line",
    [
        '{"a": ',
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": 1} {"a": 2}',
        '{"a": ' + "[" * 20_000 + "]" * 20_000 + "}",
        '{"a": ' + "9" * 5_000 + "}",
        b'{"a": "caf\xe9"}',
        "\ufeff{}",
    ],
    ids=["cut", "nan", "infinity", "two", "deep", "long number", "latin-1", "late BOM"],
)
def test_a_bad_line_is_one_row_and_spoils_no_other(rows, line):
    line = line.encode() if isinstance(line, str) else line
    raws = rows("x.jsonl", b'{"a": 1}\n' + line + b'\n\n \t\r\n{"a": 2}\r\n{"a": 3}')
    assert good(raws) == [(1, {"a": 1}), (5, {"a": 2}), (6, {"a": 3})]
    assert bad(raws) == [2]
    assert all(raw.value is None for raw in raws if raw.error)


def test_only_a_line_feed_ends_a_line_of_json(rows):
    text = "a\u2028b\u2029c\x85d"
    raws = rows("x.ndjson", json.dumps({"a": text}, ensure_ascii=False) + "\n{}\n")
    assert good(raws) == [(1, {"a": text}), (2, {})]


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.csv", "x.tsv"])
@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff"])
def test_an_empty_file_has_no_rows(rows, name, content):
    assert rows(name, content) == []


# JSON


ARRAY = '[\n  {"a": "x, ]}\\" [y"},\n\n  {"a":\n{"b": [1, 2]}}, {"a": null}\n,{"a": 0}\n]\n'
ELEMENTS = [(2, {"a": 'x, ]}" [y'}), (4, {"a": {"b": [1, 2]}}), (5, {"a": None}), (6, {"a": 0})]


def test_elements_of_an_array_come_with_their_lines(rows):
    assert good(rows("x.json", "\ufeff" + ARRAY)) == ELEMENTS


def test_an_array_cut_short_anywhere_gives_its_whole_rows_and_one_error(rows):
    for length in range(1, len(ARRAY.rstrip())):
        raws = rows("x.json", ARRAY[:length])
        assert good(raws) == ELEMENTS[: len(good(raws))]
        assert bad(raws) == [raws[-1].line], length
    assert len(good(raws)) == 4


def test_a_row_that_takes_the_rest_of_the_file_says_so(rows):
    assert "nothing after it" in rows("x.json", '[{"a": 1}, {"a": "')[1].error
    assert "lines 2 to 4" in rows("x.csv", 'a,b\n"1,2\n3,4\n5,6\n')[0].error


@pytest.mark.parametrize(
    "element", ['{"a": NaN}', "NaN", '{a: "]"}', "[" * 20_000 + "]" * 20_000, '{"a" "b"}', "nul", '"\n"']
)
def test_a_broken_element_is_one_row_and_spoils_no_other(rows, element):
    raws = rows("x.json", '[{"a": 1},\n' + element + ',\n {"a": "2"}]')
    assert [value for _, value in good(raws)] == [{"a": 1}, {"a": "2"}]
    assert bad(raws) == [2]


def test_bytes_that_are_not_utf8_cost_one_element(rows):
    raws = rows("x.json", b'[{"a": "caf\xe9"},\n{"a": "caf\xc3\xa9"}]')
    assert (good(raws), bad(raws)) == ([(2, {"a": "café"})], [1])


@pytest.mark.parametrize("end", ["[{}]", "x", "}"])
def test_text_behind_an_array_is_not_ignored(rows, end):
    raws = rows("x.json", '[{"a": 1}]\n' + end)
    assert (good(raws), bad(raws)) == ([(1, {"a": 1})], [2])


def test_an_object_may_hold_the_rows_as_its_one_list(rows):
    text = '{"version": {"list": [0]},\n "rows": [\n{"a": 1},\n{"a": 2}],\n "n": 2}'
    assert good(rows("x.json", text)) == [(3, {"a": 1}), (4, {"a": 2})]


@pytest.mark.parametrize("text", ['{"a": [{}], "b": [{}]}', '{"question": "a", "answer": "b"}', '{"a": NaN}'])
def test_an_object_with_no_list_or_with_two_is_refused(rows, text):
    with pytest.raises(ValueError, match=r"x\.json: an object must hold one list"):
        rows("x.json", text)


def test_json_lines_are_recognised_under_the_name_json(rows):
    assert good(rows("x.json", '{"messages": [1]}\n{"messages": [2]}\n')) == [
        (1, {"messages": [1]}),
        (2, {"messages": [2]}),
    ]


# CSV


def test_cells_are_text_and_rows_know_their_first_line(rows):
    text = '\ufeffid, text \r\n00123,NA\r\n\r\n"1\n\n2","say ""x"", y"\r\n3,"\u2028"\r\n4,' + "z" * 200_000
    assert good(rows("x.csv", text)) == [
        (2, {"id": "00123", "text": "NA"}),
        (4, {"id": "1\n\n2", "text": 'say "x", y'}),
        (7, {"id": "3", "text": "\u2028"}),
        (8, {"id": "4", "text": "z" * 200_000}),
    ]


def test_a_row_of_another_width_is_an_error_and_never_shifted(rows):
    raws = rows("x.csv", "a,b\n1\n1,2,3\n1,2\n")
    assert (good(raws), bad(raws)) == ([(4, {"a": "1", "b": "2"})], [2, 3])


def test_no_line_of_a_broken_record_passes_for_a_row(rows):
    raws = rows("x.csv", 'a,b\n"1"1,"x\ny,z\n"\n2,3\n"4 "5" 6",7\n8,9\n')
    assert (good(raws), bad(raws)) == ([(5, {"a": "2", "b": "3"}), (7, {"a": "8", "b": "9"})], [2, 6])
    assert "lines 2 to 4" in raws[0].error


def test_a_table_cut_short_anywhere_gives_its_whole_rows_and_at_most_one_error(rows):
    text = '"a","b"\r\n"1,\n2","3"\r\n"x""y","\nz,z\n"\r\n"4","5"\r\n'
    whole = good(rows("x.csv", text))
    assert len(whole) == 3
    for length in range(len('"a","b"'), len(text)):
        if text[:length].endswith('",'):
            continue  # a cell that is missing here reads as an empty one
        raws = rows("x.csv", text[:length])
        assert good(raws) == whole[: len(good(raws))], length
        assert bad(raws) in ([], [raws[-1].line] if raws else [])


def test_a_cell_that_is_not_utf8_costs_its_row(rows):
    raws = rows("x.csv", b"a,b\n1,caf\xe9\n2,caf\xc3\xa9\n")
    assert (good(raws), bad(raws)) == ([(3, {"a": "2", "b": "café"})], [2])


@pytest.mark.parametrize("header", [b"a,a\n", b'"a,b\n', b"caf\xe9\n"])
def test_a_header_that_cannot_be_trusted_is_refused(rows, header):
    with pytest.raises(ValueError, match="line 1: the header"):
        rows("x.csv", header + b"1,2\n")


# All formats


def parquet(values):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(values), sink)
    return sink.getvalue().to_pybytes()


VALUES = [{"a": "é\u2028", "b": "NA"}, {"a": "2", "b": "line\nfeed"}]
FILES = {
    "x.json": json.dumps(VALUES),
    "x.jsonl": "".join(json.dumps(value) + "\n" for value in VALUES),
    "x.csv": 'a,b\né\u2028,NA\n2,"line\nfeed"\n',
    "x.tsv": 'a\tb\né\u2028\tNA\n2\t"line\nfeed"\n',
    "x.parquet": parquet(VALUES),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_says_the_same_zipped_or_not(rows, name):
    content = FILES[name].encode() if isinstance(FILES[name], str) else FILES[name]
    plain = rows(name.upper(), content)
    assert [value for _, value in good(plain)] == VALUES
    assert rows(name + ".gz", gzip.compress(content)) == plain


def test_parquet_keeps_nested_turns_and_numbers_its_rows(rows):
    values = [{"messages": [{"role": "user", "content": None}]}, {"messages": []}]
    assert rows("x.parquet", parquet(values)) == [RawRow(1, values[0]), RawRow(2, values[1])]


@pytest.mark.parametrize(
    "name, content",
    [
        ("x.txt", b"a"),
        ("x.csv.zip", b"a"),
        ("x.parquet", b"no parquet"),
        ("x.csv.gz", gzip.compress(b"a,b\n1,2\n" * 99)[:-9]),
        ("x.json.gz", gzip.compress(b"[]")[:10] + b"\xff" * 9),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused_by_name(rows, name, content):
    with pytest.raises(ValueError, match=name):
        rows(name, content)


def test_what_is_written_is_read_back_whatever_the_text(tmp_path):
    text = 'a\u2028b\x85c\r\nd \U0001f600 \u0000 \\ "é"'
    row = {"id": "0-x.csv:1", "messages": [{"role": "user", "content": text}], "rejected": text}
    path = tmp_path / "rows.jsonl"
    records.write(path, [row, row])
    assert records.read(path) == [row, row]
    assert path.read_bytes().count(b"\n") == 2
    assert "é".encode() in path.read_bytes()


def test_reading_rows_needs_neither_torch_nor_pyarrow():
    code = "import sys, refrain.records; print({'torch', 'transformers', 'pyarrow'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code]) == b"set()\n"
