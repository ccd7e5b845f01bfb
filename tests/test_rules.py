"""A row that breaks a rule says which."""

from typing import get_args

import pytest
from lone_rows import TURNS, said, talk

from refrain import rules, shapes
from refrain.raw import RawRow

QA = {"question": "Hi", "answer": "Hello"}
PAIR = {"prompt": "Hi", "chosen": "Hello", "rejected": "Go"}
BROKEN = [
    ("not_an_object", ["a list"]),
    ("not_an_object", None),
    ("not_an_object", {"messages": "Hi"}),
    ("not_an_object", {"messages": ["Hi", "Hello"]}),
    ("missing_field", {}),
    ("missing_field", {"messages": [{"role": "user"}]}),
    ("missing_field", {"messages": [{"content": "Hi"}]}),
    ("not_text", {**QA, "answer": 42}),
    ("not_text", {**QA, "answer": None}),
    ("not_text", {**PAIR, "rejected": {"role": "assistant"}}),
    ("bad_text", {**QA, "answer": "a\0b"}),
    ("bad_text", {**QA, "answer": "\ud83d"}),
    ("bad_text", {**QA, "id": "\ud83d"}),
    ("bad_text", {**QA, "system": "\0"}),
    ("empty_text", {**QA, "answer": " \u2028\n"}),
    ("empty_text", {**PAIR, "rejected": ""}),
    ("empty_text", {"messages": talk("Hi", "", "Hi?", "Hello")}),
    ("unknown_role", {"messages": [{"role": "tool", "content": "x"}]}),
    ("unknown_role", {"messages": [{"role": "\ud83d" * 99, "content": "x"}]}),
    ("unknown_role", {"messages": [{"role": 3, "content": "x"}]}),
    ("wrong_order", {"messages": [*TURNS, {"role": "system", "content": "x"}, *TURNS]}),
    ("wrong_order", {"messages": [{"role": "system", "content": "x"}, *TURNS], "system": "y"}),
    ("wrong_order", {"messages": TURNS[1:]}),
    ("no_reply", {"messages": []}),
    ("no_reply", {"messages": TURNS[:1]}),
    ("no_reply", {**PAIR, "chosen": talk("Hi")}),
    ("no_reply", {**PAIR, "chosen": talk("Hi", "Hello", "Hi", "Hello")}),
    ("ends_with_user", {"messages": talk("Hi", "Hello", "Bye")}),
    ("same_reply", {**PAIR, "rejected": "Hello\n"}),
]


@pytest.mark.parametrize("reason, row", BROKEN)
def test_a_row_that_breaks_a_rule_says_which(reason, row):
    with pytest.raises(rules.RowError) as caught:
        said(row)
    assert caught.value.reason == reason
    assert len(str(caught.value)) < 200
    assert str(caught.value).isascii()


def test_an_unreadable_row_keeps_its_message():
    with pytest.raises(rules.RowError, match="cut short") as caught:
        shapes.conversation(RawRow(1, None, "cut short"), None, {})
    assert caught.value.reason == "unreadable"


def test_every_reason_has_an_example_here():
    assert {reason for reason, _ in BROKEN} | {"unreadable"} == set(get_args(rules.Reason))
