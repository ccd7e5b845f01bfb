"""Several questions in one row are a chat."""

import pytest
from single_rows import TURNS, parsed, said, talk

from refrain.data.shapes.errors import RowError

LISTS = {"questions": ["Hi", "And?"], "answers": ["Hello", "So."]}


@pytest.mark.parametrize("name", ["context", "story"])
def test_questions_and_answers_are_turns_below_what_they_are_about(name):
    assert said(LISTS)["messages"] == talk("Hi", "Hello", "And?", "So.")
    assert said({**LISTS, name: "Fog."})["messages"] == talk("Fog.\n\nHi", "Hello", "And?", "So.")
    coqa = {**LISTS, "answers": {"input_text": LISTS["answers"], "answer_start": [0, 0]}}
    assert said({**coqa, name: "Fog."})["messages"][1]["content"] == "Hello"


def test_an_answer_that_is_missing_costs_the_row():
    (error,) = parsed({**LISTS, "answers": ["Hello"]})
    assert (error.reason, str(error)) == ("contradiction", "the row has 2 questions and 1 answers")
    (error,) = parsed({**LISTS, "answers": ["Hello", None]})
    assert (error.reason, str(error)) == ("not_text", "text of answer 2 is null, not text")


@pytest.mark.parametrize("row", [
    {"question": "Hi", "answers": ["Hello", "Hey"]}, {"question": "Hi", "answers": "Hello"},
    {"question": "Hi", "answer": ["Hello", "Hey"]},
])  # fmt: skip
def test_the_first_of_several_answers_is_learned(row):
    assert said(row) == {"messages": TURNS}


def test_the_turns_of_mt_bench_are_the_users():
    row = {"question_id": 81, "category": "writing", "turns": ["Hi", "And?"]}
    assert said({**row, "reference": ["Hello", "So."]})["messages"] == talk("Hi", "Hello", "And?", "So.")
    with pytest.raises(RowError, match="no assistant turn"):
        said(row)
    with pytest.raises(RowError, match="nobody replies"):
        said({**row, "reference": ["Hello"]})
    (error,) = parsed({**row, "reference": ["Hello", "So.", "x"]})
    assert error.reason == "contradiction"
