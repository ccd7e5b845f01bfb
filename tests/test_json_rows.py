"""JSON as it is found: broken, cut short, with strange line ends."""

import json
from functools import partial

import pytest
from raw_files import bad, good, read


@pytest.fixture
def rows(tmp_path):
    """Write bytes or text under a name and read them back as raw rows."""
    return partial(read, tmp_path)


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
