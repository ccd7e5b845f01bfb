"""Questions, preferences and chats become turns that somebody can learn from."""

import pytest
from lone_rows import TURNS, said, talk

from refrain.rules import RowError


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi", "chosen": "Hello", "rejected": "Go\r\naway"},
        {"prompt": TURNS[:1], "chosen": TURNS[1:], "rejected": "Go\r\naway"},
        {"prompt": "Hi", "chosen": TURNS, "rejected": talk("Hi", "Go\r\naway"), "input": "not asked for"},
        {"instruction": "Hi", "input": "", "chosen": "Hello", "rejected": "Go\r\naway"},
    ],
)
def test_one_preference_in_every_form(row):
    assert said(row) == {"messages": TURNS, "rejected": "Go\r\naway"}


@pytest.mark.parametrize(
    "row, fields",
    [
        ({"instruction": "Do", "input": "this\n", "output": "Done"}, {}),
        ({"instruction": "Do", "input": "this", "chosen": "Done", "rejected": "No"}, {}),
        (
            {"instruction": "Do", "input": "this", "chosen": "Done", "rejected": "No"},
            {"prompt": "instruction", "input": "input"},
        ),
        ({"Q": "Do", "context": "this", "A": "Done"}, {"question": "Q", "answer": "A", "input": "context"}),
    ],
)
def test_input_follows_the_prompt_after_a_blank_line(row, fields):
    assert said(row, **fields)["messages"] == talk("Do\n\nthis", "Done")


def test_no_input_goes_below_a_prompt_of_turns():
    with pytest.raises(RowError, match="prompt of the row is a list"):
        said({"prompt": talk("Hi"), "chosen": "Hello", "rejected": "Go", "context": "x"}, input="context")


def test_turns_of_one_speaker_in_a_row_are_allowed():
    messages = [TURNS[0], TURNS[0], TURNS[1], TURNS[1]]
    assert said({"messages": messages})["messages"] == messages
