import json
import subprocess
import sys

import pytest
from raw_files import bad, good

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


def test_a_task_of_natural_instructions_is_one_row(rows):
    task = {"Contributors": ["x"], "Definition": ["Do"], "Positive Examples": [], "Instances": [{"input": "a"}]}
    assert good(rows("x.json", json.dumps(task, indent=1))) == [(1, task)]


def test_rows_that_begin_in_one_line_are_numbered(rows):
    raws = rows("x.json", '[{"a": 1}, {"a": 2}, x,\n{"a": 3}, {"a":\n4}, 5]')
    assert [(raw.line, raw.nth) for raw in raws] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (3, 1)]


def test_an_envelope_that_is_cut_short_says_so(rows):
    assert (good(rows("x.json", '{"data": [{}]')), bad(rows("x.json", '{"data": [{}]'))) == ([(1, {})], [1])
    assert bad(rows("x.json", '{"data": [{')) == [1]


def test_an_array_longer_than_any_window_is_read_whole(rows):
    values = [{"a": '\U0001f600\\"]' * (number * 97 % 4_000)} for number in range(300)]
    assert [value for _, value in good(rows("x.json", json.dumps(values, ensure_ascii=False)))] == values
    assert [value for _, value in good(rows("x.json", json.dumps({"version": 1, "data": values})))] == values


def test_a_long_array_is_read_in_little_memory(tmp_path):
    row = json.dumps({"question": "What is fog? " * 80, "answer": "A low cloud. " * 80})
    with (tmp_path / "x.json").open("w") as file:
        file.writelines(["[", *[row + ",\n"] * 30_000, row, "]"])
    code = (
        "import pathlib, sys; from refrain.data.readers import files; from refrain.pipeline.schema import SourceConfig;"
        "print(sum(1 for row in files.read_rows(pathlib.Path(sys.argv[1]), SourceConfig())));"
        "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
    )
    count, kilobytes = subprocess.check_output([sys.executable, "-c", code, str(tmp_path / "x.json")]).split()
    assert (tmp_path / "x.json").stat().st_size > 60e6
    assert int(count) == 30_001
    assert int(kilobytes) < 80_000
