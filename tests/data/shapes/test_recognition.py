"""Most of the first rows decide on the layout of a file, and an odd row decides nothing."""

import pytest
from single_rows import DEFAULT, TURNS

from refrain.data.readers.raw_rows import RawRow
from refrain.data.shapes import parsing
from refrain.data.shapes.errors import RowError
from refrain.data.shapes.recognition import recognise_layout
from refrain.pipeline.schema import SourceConfig

QA = {"question": "Hi", "answer": "Hello", "topic": "x"}


def recognise(*rows, **source):
    return recognise_layout(SourceConfig("some/file.json", **source), [RawRow(1, row) for row in rows])


@pytest.mark.parametrize("odd", [
    {"messages": TURNS}, {"question": "Hi", "answer": "Hello", "chosen": "a", "rejected": "b"}, {"text": "Hi"},
    {"prompt": "Hi", "completion": "Hello"}, {"Answer": "x"}, {}, {"question": 1, "answers": []},
])  # fmt: skip
def test_an_odd_row_stops_nothing(odd):
    for rows in ([odd, QA, QA], [QA, QA, odd]):
        layout = recognise(*rows)
        assert layout.shape.name == "qa"
        results = [parsing.parse_row(RawRow(1, row), layout, DEFAULT)[0] for row in rows]
        assert sum(isinstance(result, RowError) for result in results) == ("answer" not in odd)


def test_shapes_of_as_many_rows_are_not_chosen_from():
    with pytest.raises(ValueError, match=r"several shapes \(1 messages, 1 qa\), .*`shape`"):
        recognise(QA, {"messages": TURNS})
    assert recognise(QA, {"messages": TURNS}, shape="qa").shape.name == "qa"


def test_empty_columns_are_those_of_other_rows():
    assert recognise({**QA, "messages": None, "chosen": [], "rejected": ""}).shape.name == "qa"


def test_a_layout_says_what_is_read_and_what_is_not():
    layout = recognise({"Question": "Hi", "Answer": "Hello", "split": "train", "topic": "x"}, {"Question": "Ho"})
    assert layout.read == {"question": "Question", "answer": "Answer", "split": "split"}
    assert layout.ignored == ("topic",)
    assert layout.describe() == "shape qa; Question is its question; Answer is its answer; split sends train to train"
