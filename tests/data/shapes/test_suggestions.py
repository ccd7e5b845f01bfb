"""Where no shape fits, the answer shows the row and the line that would read it."""

import re

import pytest
import yaml
from single_rows import said, talk

Q, C, A = "What is fog?", "Think of the sea.", "A low cloud."
TURNS = talk(Q, A)


def refusal(row, **settings):
    with pytest.raises(ValueError) as caught:
        said(row, **settings)
    return str(caught.value)


@pytest.mark.parametrize("row, messages", [
    ({"Frage": Q, "Antwort": A}, TURNS),
    ({"id": "7", "one: column": Q, "other, column": A, "level": "3"}, TURNS),
    ({"task_text": Q, "background": C, "model_reply": A}, talk(f"{Q}\n\n{C}", A)),
    ({"a": A, "passage": C, "q": Q}, talk(f"{Q}\n\n{C}", A)),
    ({"persona": "Be kind.", "user_says": Q, "bot_output": A}, [{"role": "system", "content": "Be kind."}, *TURNS]),
    ({"thread": [{"role": "user", "content": Q}, {"role": "assistant", "content": A}], "url": "x"}, TURNS),
    ({"ask": Q, "winning_reply": A, "losing_reply": "No idea."}, TURNS),
    ({"yes": Q, "no": A}, TURNS),
    ({"document": Q, "summary": A, "article_id": "a7"}, TURNS),
    ({"Frage": Q, "eid_article": "a7", "Antwort": A}, TURNS),
])  # fmt: skip
def test_the_line_that_is_proposed_reads_the_row(row, messages):
    message = refusal(row)
    assert all(column in message for column in row)
    fields = yaml.safe_load(re.search(r"`fields: (\{.*?\})` would", message)[1])
    assert said(row, **fields)["messages"] == messages


def test_the_shape_that_is_asked_for_is_the_nearest():
    assert "`fields: {instruction: question, output: answer}`" in refusal({"question": Q, "answer": A}, shape="alpaca")


@pytest.mark.parametrize("row", [{"text": C}, {"id": 1, "text": C, "label": "sea"}, {"title": "Fog", "content": C}])
def test_texts_alone_are_refused_with_the_way_out(row):
    message = refusal(row)
    assert "texts alone" in message and "model.tiny.corpus" in message
    assert ("`fields: {question: " in message) == (len(row) > 1)


def test_a_row_of_many_columns_is_shown_in_part():
    message = refusal({f"column {number}": "x" * 1000 for number in range(99)})
    assert "and 87 more" in message and len(message) < 1500
