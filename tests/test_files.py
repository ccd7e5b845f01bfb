"""Files of every format, zipped or not, and files that are not what their name says."""

import gzip
import json
import subprocess
import sys
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from raw_files import good, read

from refrain import records
from refrain.raw import RawRow


@pytest.fixture
def rows(tmp_path):
    """Write bytes or text under a name and read them back as raw rows."""
    return partial(read, tmp_path)


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.csv", "x.tsv"])
@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff"])
def test_an_empty_file_has_no_rows(rows, name, content):
    assert rows(name, content) == []


def test_a_row_that_takes_the_rest_of_the_file_says_so(rows):
    assert "nothing after it" in rows("x.json", '[{"a": 1}, {"a": "')[1].error
    assert "lines 2 to 4" in rows("x.csv", 'a,b\n"1,2\n3,4\n5,6\n')[0].error


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
        ("x.csv.gz", gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:-9]),
        ("x.json.gz", gzip.compress(b"[]", mtime=0)[:10] + b"\xff" * 9),
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
