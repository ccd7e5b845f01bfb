"""JSON as it is found: broken, cut short, with strange line ends."""

import json

import pytest
from raw_files import bad, good

from refrain.data.readers import files
from refrain.data.readers.json_lines import JsonLinesBlock
from refrain.pipeline.schema import SourceConfig


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
        '{"a": ' + "[" * 300 + "]" * 300 + "}",
        '{"a": 1, "a": 2}',
        b'{"a": "caf\xe9"}',
        "\ufeff{}",
    ],
    ids=["cut", "nan", "infinity", "two", "deep", "long number", "300 levels", "a name twice", "latin-1", "late BOM"],
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


def test_a_value_of_many_parts_is_not_a_deep_one(rows):
    assert good(rows("x.jsonl", json.dumps([[[1]]] * 1_000))) == [(1, [[[1]]] * 1_000)]


def test_a_row_of_a_megabyte_is_read_and_one_of_17_is_an_error_without_neighbours(rows):
    long = [json.dumps({"a": "é" * (size << 19)}, ensure_ascii=False) for size in (1, 17)]
    for name, text in (("x.jsonl", "{}\n%s\n%s\n{}\n"), ("x.json", "[{},\n%s,\n%s,\n{}]")):
        raws = rows(name, text % tuple(long))
        assert [(raw.line, len(str(raw.value))) for raw in raws if not raw.error] == [
            (1, 2),
            (2, (1 << 19) + 9),
            (4, 2),
        ]
        assert [raw.error for raw in raws if raw.error] == ["longer than 16 MiB"]
        assert raws[3].offset == (text % tuple(long)).encode().rindex(b"{}")


def test_a_line_that_is_too_long_is_never_held(tmp_path):
    (tmp_path / "x.jsonl").write_bytes(b"{}\n" + b" " * (40 << 20) + b"\n{}\n")
    blocks = list(files.read_blocks(tmp_path / "x.jsonl", SourceConfig()))
    assert [(raw.line, raw.offset, raw.error) for block in blocks for raw in block.rows()] == [
        (1, 0, ""),
        (2, 3, "longer than 16 MiB"),
        (3, 4 + (40 << 20), ""),
    ]
    assert all(len(block.text) < 5 << 20 for block in blocks if isinstance(block, JsonLinesBlock))


def test_a_bom_inside_a_file_is_no_bom():
    assert [raw.value for raw in JsonLinesBlock(b"\xef\xbb\xbf{}\n{}", 1, 0).rows()] == [{}, {}]
    assert [raw.value for raw in JsonLinesBlock(b"\xef\xbb\xbf{}\n{}", 9, 99).rows()] == [None, {}]


def test_json_lines_are_recognised_under_the_name_json(rows):
    assert good(rows("x.json", '{"messages": [1]}\n{"messages": [2]}\n')) == [
        (1, {"messages": [1]}),
        (2, {"messages": [2]}),
    ]
