"""Files of every format, zipped or not, and files that are not what their name says."""

import gzip
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from functools import partial

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from raw_files import bad, good, read

from refrain.chat import records
from refrain.data.readers import files
from refrain.data.readers.raw_rows import RawRow
from refrain.pipeline.schema import SourceConfig


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
    assert "lines 2 to 4" in rows("x.csv", 'a,b\n"1,2\n3\n5\n')[0].error


def parquet(values):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(values), sink)
    return sink.getvalue().to_pybytes()


def arrow(values, new=pa.ipc.new_file):
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pylist(values)
    with new(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1)
    return sink.getvalue().to_pybytes()


def workbook(values):
    book = openpyxl.Workbook()
    for row in [[*values[0]], *([*value.values()] for value in values)]:
        book.active.append(row)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def zst(content):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as packed:
        packed.write(content)
    return sink.getvalue().to_pybytes()


def zipped(members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return content.getvalue()


VALUES = [{"a": "é\u2028", "b": "NA"}, {"a": "2", "b": "line\nfeed"}]
FILES = {
    "x.json": json.dumps(VALUES),
    "x.jsonl": "".join(json.dumps(value) + "\n" for value in VALUES),
    "x.csv": 'a,b\né\u2028,NA\n2,"line\nfeed"\n',
    "x.tsv": 'a\tb\né\u2028\tNA\n2\t"line\nfeed"\n',
    "x.parquet": parquet(VALUES),
    "x.arrow": arrow(VALUES),
    "x.feather": arrow(VALUES, pa.ipc.new_stream),
    "x.xlsx": workbook(VALUES),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_says_the_same_zipped_or_not(rows, name):
    content = FILES[name].encode() if isinstance(FILES[name], str) else FILES[name]
    plain = rows(name.upper(), content)
    assert [value for _, value in good(plain)] == VALUES
    assert rows(name + ".gz", gzip.compress(content)) == plain
    assert rows(name + ".zst", zst(content)) == plain
    assert rows(name + ".zip", zipped({"README.md": "# x", f"in/{name}": content})) == plain


def test_parquet_keeps_nested_turns_and_numbers_its_rows(rows):
    values = [{"messages": [{"role": "user", "content": None}]}, {"messages": []}]
    assert rows("x.parquet", parquet(values)) == [RawRow(1, values[0]), RawRow(2, values[1])]


@pytest.mark.parametrize(
    "name, content",
    [
        ("x.txt", b"a"),
        ("x.csv.zip", b"a"),
        ("x.parquet", b"no parquet"),
        ("x.arrow", b"no arrow"),
        ("x.arrow", FILES["x.arrow"][:-300]),
        ("x.feather", b"FEA1 of long ago"),
        ("x.xlsx", FILES["x.xlsx"][:-30]),
        ("x.xlsx", b"\xd0\xcf\x11\xe0 with a password"),
        ("x.xlsx", zipped({"a.xml": "<a/>"})),
        ("x.csv.zst", zst(b"a,b\n1,2\n" * 99)[:-9]),
        ("x.csv.zst", b"a,b\n"),
        ("x.csv.gz", gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:-9]),
        ("x.json.gz", gzip.compress(b"[]", mtime=0)[:10] + b"\xff" * 9),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused_by_name(rows, name, content):
    with pytest.raises(ValueError, match=name):
        rows(name, content)


def test_text_that_is_not_utf8_costs_its_row_and_a_damaged_batch_its_rows(rows):
    content = arrow([{"a": "é1", "b": "x"}, {"a": "é2", "b": "y"}, {"a": "é3", "b": "z"}])
    raws = rows("x.arrow", content.replace("é2".encode(), b"\xff\xff2"))
    assert [raw.line for raw in raws if raw.error] == [2] and len(raws) == 3
    before, offsets, after = arrow([{"a": "q" * 77}, {"a": "é"}]).rpartition(bytes([0, 0, 0, 0, 77, 0, 0, 0]))
    raws = rows("x.arrow", before + offsets[:7] + b"\x7f" + after)  # the first text ends far behind the file
    assert [raw.line for raw in raws if raw.error] == [1] and "record batch is damaged" in raws[0].error


def test_a_file_that_is_not_there_or_no_file_is_refused_by_its_path(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    for name, problem in (("none.csv", "No such file"), ("folder.csv", "a folder"), ("pipe.csv", "no regular file")):
        with pytest.raises(ValueError, match=f"{tmp_path / name}: .*{problem}"):
            list(files.read_rows(tmp_path / name, SourceConfig(name)))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.csv", "x.tsv"])
def test_utf16_is_read_and_rows_stand_where_their_offsets_say(rows, name, encoding):
    content = FILES[name].replace("\\u00e9", "é").replace("é", "\U0001f600").encode(encoding)
    raws = rows(name, content)
    assert [raw.value for raw in raws] == [{"a": "\U0001f600\u2028", "b": "NA"}, VALUES[1]]
    width, codec = 4 if "32" in encoding else 2, encoding if encoding[-1] == "e" else encoding + "-le"
    for raw in raws:
        assert raw.offset % width == 0
        assert content[raw.offset :].decode(codec)[0] in '{"\U0001f6002'


def test_bytes_of_another_encoding_cost_their_row_and_say_which(rows):
    raws = rows("x.jsonl", b'{"a": "caf\xe9"}\n{"a": "\x81"}\n{"a": "\x80"}\n', encoding="cp1252")
    assert (good(raws), bad(raws)) == ([(1, {"a": "café"}), (3, {"a": "€"})], [2])
    assert "not CP1252" in raws[1].error
    assert [raw.offset for raw in raws] == [0, 14, 25]
    with pytest.raises(ValueError, match="take `encoding` out"):
        rows("x.csv", "a,b\n".encode("utf-16"), encoding="cp1252")


@pytest.mark.parametrize("name", FILES)
def test_an_archive_may_have_members_but_nothing_else_behind_them(rows, name):
    content = FILES[name].encode() if isinstance(FILES[name], str) else FILES[name]
    members = gzip.compress(content[:9]) + gzip.compress(content[9:])
    assert [value for _, value in good(rows(name + ".gz", members))] == VALUES
    assert [value for _, value in good(rows(name + ".zst", zst(content[:9]) + zst(content[9:])))] == VALUES
    for damaged in (members + b"x", members[:-5], members[:30] + b"\xff\xff\xff" + members[33:]):
        with pytest.raises(ValueError, match=name):
            rows(name + ".gz", damaged)


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.json.gz", "x.csv.gz", "x.parquet.gz"])
def test_a_bomb_is_refused(rows, name):
    with pytest.raises(ValueError, match="unpack it yourself"):
        rows(name, gzip.compress(bytes(101 << 20), compresslevel=1))


@pytest.mark.heavy
@pytest.mark.parametrize("name, pack", [
    ("x.jsonl.zst", zst), ("x.zip", lambda content: zipped({"a.jsonl": content})),
    ("x.xlsx", lambda content: zipped({"xl/workbook.xml": content})),
])  # fmt: skip
def test_a_bomb_in_another_archive_is_refused(rows, name, pack):
    with pytest.raises(ValueError, match="unpack it yourself"):
        rows(name, pack(bytes(101 << 20)))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", ["longer", "replaced", "touched", "gone"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, name, change):
    path, other = tmp_path / name, tmp_path / "other"
    for file in (path, other):
        file.write_bytes(FILES[name].encode() if isinstance(FILES[name], str) else FILES[name])
    blocks = files.read_blocks(path, SourceConfig(str(path)))
    next(blocks)
    if change == "longer":
        path.write_bytes(path.read_bytes() + b"\n")
    elif change == "replaced":
        other.replace(path)
    elif change == "touched":
        os.utime(path, ns=(1, 1))
    else:
        path.unlink()
    with pytest.raises(ValueError, match=f"{name}: changed while it was read; run again"):
        list(blocks)


@pytest.mark.parametrize("name", FILES)
def test_blocks_can_be_sent_to_another_process(rows, tmp_path, name):
    raws = rows(name, FILES[name])
    sent = [pickle.loads(pickle.dumps(block)) for block in files.read_blocks(tmp_path / name, SourceConfig(name))]
    assert [raw for block in sent for raw in block.rows()] == raws


def test_json_lines_come_in_blocks_of_whole_lines(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps({"a": number, "b": "é" * 1_000}) + "\n" for number in range(2_000)))
    blocks = list(files.read_blocks(path, SourceConfig(str(path))))
    assert len(blocks) == 3
    assert b"".join(block.text for block in blocks) == path.read_bytes()
    assert all(block.text.endswith(b"\n") for block in blocks)
    assert [raw.line for block in blocks for raw in block.rows()] == list(range(1, 2_001))


def test_a_parquet_text_that_is_not_utf8_costs_one_row(rows):
    column = pa.array([b"a", b"\xff", b"c"]).cast(pa.string(), safe=False)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": pa.Array.from_buffers(pa.string(), 3, column.buffers())}), sink)
    raws = rows("x.parquet", sink.getvalue().to_pybytes())
    assert (good(raws), [raw.line for raw in raws if raw.error]) == ([(1, {"a": "a"}), (3, {"a": "c"})], [2])


def test_what_is_written_is_read_back_whatever_the_text(tmp_path):
    text = 'a\u2028b\x85c\r\nd \U0001f600 \u0000 \\ "é"'
    row = {"id": "0-x.csv:1", "messages": [{"role": "user", "content": text}], "rejected": text}
    path = tmp_path / "rows.jsonl"
    records.write_rows(path, [row, row])
    assert records.read_rows(path) == [row, row]
    assert path.read_bytes().count(b"\n") == 2
    assert "é".encode() in path.read_bytes()


CALL = {"type": "function", "function": {"name": "f", "arguments": {"x": 1e-7}}}
EVERY_CHARACTER = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))


@pytest.mark.parametrize(
    "row",
    [
        {"id": "a:1", "messages": [{"role": "user", "content": EVERY_CHARACTER}], "own_id": "7", "input_from": 2},
        {"id": "a", "messages": [{"role": "assistant", "content": "", "train": False}], "label": False, "rejected": ""},
        {"messages": [{"role": "assistant", "content": "", "tool_calls": [CALL]}]},
        {"messages": [], "tools": [{"type": "function", "function": {"maximum": 1e16, "minimum": -0.0}}]},
        {"id": "a", "reason": "duplicate", "offset": None, "of": 2**70, "share": 1e22},
        {"id": "a", "parent": "b"},
        {},
    ],
)
def test_rows_are_written_in_the_bytes_of_json(row):
    assert records.to_json_line(row) == json.dumps(row, ensure_ascii=False).encode() + b"\n"


def test_reading_rows_needs_neither_torch_nor_pyarrow():
    code = "import sys, refrain.chat.records; print({'torch', 'transformers', 'pyarrow'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code]) == b"set()\n"
