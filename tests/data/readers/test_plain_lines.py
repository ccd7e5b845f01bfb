"""What is read quickly is read the same; what is doubtful is left to the reader that says what is wrong."""

import json
import random

import pytest

from refrain.data.readers import json_lines
from refrain.data.readers.plain_lines import parse_plain_line
from refrain.data.readers.raw_rows import WrittenFloat

PIECES = [
    *('{"a": ', '{"b" : ', '{"a":', "}", "[", "]", ", ", ",", ": ", '"', '"x"', '"":', '"\\":"', " :", "\t:", "\\"),
    *("1", "-0", "1.50", "1E5", "1e400", "01", "9" * 19, "9" * 18, "true", "null", "NaN", "\\u0000", "\\ud800", "é"),
    *("\x01", "\x7f", "\u2028", "🌧", "\\ud83c\\udf27", "\\/", "\r", "\v", "\ufeff"),
]


def written(value):
    """A value with the types of its numbers, and floats as they are written."""
    if isinstance(value, dict):
        return {name: written(part) for name, part in value.items()}
    if isinstance(value, list):
        return [written(part) for part in value]
    return (type(value), value.text if isinstance(value, WrittenFloat) else value)


def test_any_text_is_read_as_by_the_reader_of_all_lines_or_not_at_all(monkeypatch):
    rng = random.Random(1)
    values = [[1.5, "a"], {"a": [{"b": None}, {"b": {"c": "d"}}]}, {'"': '":', ":": True, "a": [[], {}]}]
    lines = ["".join(rng.choices(PIECES, k=rng.randint(1, 7))) for _ in range(20_000)]
    for _ in range(2_000):
        text = json.dumps(rng.choice(values), ensure_ascii=False)
        at = rng.randrange(len(text) + 1)
        lines.append(text[:at] + rng.choice(["", *PIECES]) + text[at + rng.randint(0, 1) :])
    quick = [parse_plain_line(line.encode()) for line in lines]
    monkeypatch.setattr(json_lines, "parse_plain_line", lambda line: None)
    read = 0
    for line, value in zip(lines, quick, strict=True):
        if value is not None:
            expected, error = json_lines.parse_line(line.encode())
            assert (written(value), "") == (written(expected), error), line
            read += 1
    assert read > 500


@pytest.mark.parametrize(
    "line",
    [
        '{"a": 1, "a": 1}',
        '{"a": 1, "a" : 1}',
        '{"a" :1, "b": {"c":1, "c"\t:2}}',
        '{"a": %s}' % ("9" * 19),
        "[" * 251 + "]" * 251,
        "[" * 5000 + "]" * 5000,
        '{"a": "\\ud800"}',
        "null",
    ],
)
def test_what_msgspec_would_take_without_a_word_is_doubtful(line):
    assert parse_plain_line(line.encode()) is None


def test_names_before_a_blank_and_colons_in_texts_are_plain():
    for value in ({"a": 1, "b": [{"a": "x :", "b": "y:"}]}, {"a": 'a ": 1'}, [], {}):
        text = json.dumps(value).replace('":', '" :', 1)
        assert parse_plain_line(text.encode()) == (None if "\\" in text else value)
