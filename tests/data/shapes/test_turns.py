"""Turns before a question, however a row writes them, and where the last of a kind stands."""

import json

import pytest
from single_rows import TURNS, parsed, said, talk

from refrain.data.shapes import turns
from refrain.data.shapes.errors import RowError


def refusal(row):
    """Why there is no conversation in a row."""
    (error,) = parsed(row)
    assert isinstance(error, RowError), error
    return error.reason


HISTORY = [["One?", "1"], ["Two?", "2"]]
EARLIER = talk("One?", "1", "Two?", "2")


@pytest.mark.parametrize("row", [
    {"instruction": "Hi", "output": "Hello"}, {"question": "Hi", "answer": "Hello"},
    {"prompt": "Hi", "completion": "Hello"}, {"prompt": "Hi", "chosen": "Hello", "rejected": "Go"},
    {"instruction": "Hi", "chosen": "Hello", "rejected": "Go"},
])  # fmt: skip
@pytest.mark.parametrize("history", [HISTORY, EARLIER, json.dumps(HISTORY)], ids=["pairs", "turns", "json"])
def test_a_history_stands_before_the_question(row, history):
    system = {"role": "system", "content": "Be kind."}
    assert said({**row, "history": history})["messages"] == [*EARLIER, *TURNS]
    assert said({**row, "history": history, "system": "Be kind."})["messages"] == [system, *EARLIER, *TURNS]
    for empty in ([], None, "", "[]"):
        assert said({**row, "history": empty})["messages"] == TURNS


@pytest.mark.parametrize("history, reason", [
    ("what was said", "not_an_object"), ([["One?"]], "not_an_object"), ([["One?", None]], "not_text"),
    ([["One?", "1"], "Two?"], "not_an_object"), ({"One?": "1"}, "not_an_object"), ("[" * 100_000, "not_an_object"),
])  # fmt: skip
def test_a_history_of_another_form_costs_the_row(history, reason):
    assert refusal({"instruction": "Hi", "output": "Hello", "history": history}) == reason


def test_the_input_of_a_row_with_a_history_is_that_of_its_question():
    row = {"instruction": "Do", "input": "this", "output": "Done", "history": HISTORY}
    result = said(row)
    assert result["messages"][-2]["content"][result["input_from"] :] == "this"


def test_the_last_turn_that_is_learned_is_not_one_of_context():
    messages = [*TURNS, TURNS[0], {**TURNS[1], "train": False}]
    assert (turns.last_turn(messages, "assistant"), turns.last_learned_turn(messages)) == (3, 1)
    assert turns.last_turn(messages, "system") == turns.last_learned_turn(messages[:1]) == -1
