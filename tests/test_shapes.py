"""Rows of every shape are recognised by their columns and become the same conversations."""

import pytest
from lone_rows import TURNS, said

from refrain import shapes
from refrain.config import Source
from refrain.raw import RawRow


@pytest.mark.parametrize(
    "row",
    [
        {"messages": TURNS},
        {"messages": [{**turn, "extra": 1} for turn in TURNS]},
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
        {"conversations": TURNS},
        {"utterances": [{"speaker": "USER", "text": " Hi\n"}, {"speaker": "assistant", "text": "Hello"}]},
        {"instruction": "Hi", "output": "Hello"},
        {"instruction": "Hi", "input": " ", "output": "Hello"},
        {"instruction": "Hi", "input": None, "output": "Hello", "system": ""},
        {"question": "\u00a0Hi ", "answer": "Hello", "input": "not asked for"},
        {"prompt": "Hi", "completion": "Hello"},
    ],
)
def test_one_conversation_in_every_shape(row):
    assert said(row) == {"messages": TURNS}


def test_a_system_field_is_the_first_turn_and_an_own_id_is_text():
    row = {"system": " Be kind. ", "question": "Hi", "answer": "Hello", "id": 7}
    system = {"role": "system", "content": "Be kind."}
    assert said(row) == {"messages": [system, *TURNS], "own_id": "7"}
    assert said({"messages": [system, *TURNS]})["messages"] == [system, *TURNS]
    assert "own_id" not in said({**row, "id": 1.5})


def test_fields_pick_the_columns_and_so_the_shape():
    row = {"id_qa": "B2", "question": "wrong", "question_en": "Hi", "answer_en": "Hello", "answer_pt": "Oi"}
    fields = {"question": "question_en", "answer": "answer_en", "id": "id_qa"}
    assert said(row, **fields) == {"messages": TURNS, "own_id": "B2"}


@pytest.mark.parametrize(
    "row, fields",
    [
        ({"input": "Hi", "instruction": "x", "completion": "Hello"}, {"prompt": "input"}),
        ({"input": "Hi", "output": "Hello"}, {"instruction": "input"}),
        ({"question": "Hi", "answer": "Hello", "instruction": "7", "output": "x"}, {"id": "instruction"}),
    ],
)
def test_a_column_named_in_fields_has_no_other_use(row, fields):
    assert said(row, **fields)["messages"] == TURNS


def test_the_first_rows_decide_together():
    raws = [
        RawRow(1, None, "broken"),
        RawRow(2, ["a"]),
        RawRow(3, {"question": "Hi"}),
        RawRow(4, {"answer": "Hello"}),
    ]
    assert shapes.recognised(Source("file"), raws).name == "qa"
    assert shapes.recognised(Source("file"), raws[:2]) is None


AMBIGUOUS = {"instruction": "Do", "input": "", "output": "Done", "chosen": "Done", "rejected": "No"}


def test_rows_of_several_shapes_ask_for_one():
    with pytest.raises(ValueError, match=r"some/file.json: .*`shape: alpaca` or `shape: preference`$"):
        said(AMBIGUOUS)
    assert "rejected" in said(AMBIGUOUS, shape="preference")
    assert "rejected" not in said(AMBIGUOUS, shape="alpaca")
    assert "rejected" in said(AMBIGUOUS, prompt="instruction", input="input")


@pytest.mark.parametrize(
    "row, settings, words",
    [
        ({"frage": "Hi", "antwort": "Hello"}, {}, ["frage, antwort", "qa: question, answer", "`fields: {"]),
        ({"question": "Hi", "answer": "Hello"}, {"shape": "alpaca"}, ["alpaca: instruction, output"]),
        ({"question": "Hi", "answer": "Hello"}, {"shape": "q&a"}, ["no shape q&a", "qa"]),
        ({"q": "Hi", "a": "Hello"}, {"question": "Q", "answer": "a"}, ["Q is no column", "q, a"]),
        ({"q": "Hi", "a": "Hello"}, {"questoin": "q", "answer": "a"}, ["questoin", "question"]),
        ({"messages": TURNS, "text": "Do"}, {"input": "text"}, ["fit no shape"]),
    ],
)
def test_what_fits_nothing_is_refused_with_the_way_out(row, settings, words):
    with pytest.raises(ValueError) as caught:
        said(row, **settings)
    assert all(word in str(caught.value) for word in ["some/file.json", *words])
