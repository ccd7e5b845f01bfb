"""A row that breaks a rule says which."""

import math
import pickle
from decimal import Decimal
from typing import get_args

import pytest
from single_rows import DEFAULT, TURNS, parsed, said, talk, wanted

from refrain.data.readers import json_lines
from refrain.data.readers.raw_rows import RawRow
from refrain.data.shapes import errors, fields, parsing

QA = {"question": "Hi", "answer": "Hello"}
PAIR = {"prompt": "Hi", "chosen": "Hello", "rejected": "Go"}
FOG = {"context": "Fog is a cloud.", "question": "What is fog?", "answers": {"text": ["a cloud"], "answer_start": [7]}}
PICK = {"prompt": "Hi", "response_0": "Hello", "response_1": "Go", "better_response_id": 0}
SHP = {"history": "Hi", "human_ref_A": "Hello", "human_ref_B": "Go", "labels": 1, "score_A": 9, "score_B": 2}
SYSTEM = {"role": "system", "content": "x"}
HEARD = "\n\nHuman: Hi\n\nAssistant: Hello"
DELETED = {"message_tree_id": "t", "prompt": {"role": "prompter", "text": "x", "deleted": True, "replies": []}}
BROKEN = [
    ("not_an_object", ["a list"]),
    ("not_an_object", None),
    ("not_an_object", {"messages": "Hi"}),
    ("not_an_object", {"messages": [["Hi"], "Hello"]}),
    ("not_an_object", {**FOG, "answers": 7}),
    ("not_an_object", {"instruction": "Do", "instances": "this"}),
    ("missing_field", {}),
    ("missing_field", {"messages": [{"role": "user"}]}),
    ("missing_field", {"messages": [{"content": "Hi"}]}),
    ("missing_field", {"instruction": "Do", "instances": []}),
    ("missing_field", {**FOG, "answers": [{"answer_start": 7}]}),
    ("not_text", {**QA, "question": True}),
    ("not_text", {**QA, "answer": None}),
    ("not_text", {**PAIR, "rejected": {"role": "assistant", "content": None}}),
    ("bad_text", {**QA, "answer": "a\0b"}),
    ("bad_text", {**QA, "answer": "\ud83d"}),
    ("bad_text", {**QA, "id": "\ud83d"}),
    ("bad_text", {**QA, "system": "\0"}),
    ("empty_text", {**QA, "answer": " \u2028\n"}),
    ("empty_text", {**QA, "answer": "\u200b\ufeff \u200d"}),
    ("empty_text", {**PAIR, "rejected": "\ufe0f"}),
    ("empty_text", {"messages": talk("Hi", "\u3164\U000e0100")}),
    ("empty_text", {**PAIR, "rejected": ""}),
    ("empty_text", {"messages": talk("Hi", " ")}),
    ("empty_text", {"messages": talk("Hi", "Hello", "Bye", "\n")}),
    ("empty_text", {"chosen": HEARD, "rejected": "\n\nHuman: Hi\n\nAssistant:"}),
    ("empty_text", {"chosen": "\n\nHuman: Hi\n\nAssistant:", "rejected": HEARD}),
    ("unknown_role", {"messages": [{"role": "robot", "content": "x"}]}),
    ("unknown_role", {"messages": [{"role": "\ud83d" * 99, "content": "x"}]}),
    ("unknown_role", {"messages": [{"role": 3, "content": "x"}]}),
    ("unknown_role", {"messages": [{"role": ["user"], "content": "x"}]}),
    ("wrong_order", {"messages": [*TURNS, SYSTEM, *TURNS]}),
    ("wrong_order", {"messages": [*TURNS, SYSTEM]}),
    ("wrong_order", {"messages": [SYSTEM, *TURNS], "system": "y"}),
    ("wrong_order", {"messages": TURNS[1:]}),
    ("no_reply", {"messages": []}),
    ("no_reply", {"messages": TURNS[:1]}),
    ("no_reply", {**PAIR, "chosen": talk("Hi")}),
    ("no_reply", {**PAIR, "chosen": talk("Hi", "Hello", "Hi", "Hello")}),
    ("no_reply", {"chosen": HEARD + "\n\nHuman: Bye", "rejected": HEARD + "\n\nHuman: Bye"}),
    ("no_reply", {"chosen": TURNS, "rejected": []}),
    ("same_reply", {**PAIR, "rejected": "Hello\n"}),
    ("same_reply", {"chosen": HEARD, "rejected": HEARD}),
    ("other_prompt", {"chosen": HEARD, "rejected": "\n\nHuman: Ho\n\nAssistant: Go"}),
    ("other_prompt", {"chosen": HEARD, "rejected": HEARD + "\n\nHuman: Bye\n\nAssistant: Go"}),
    ("wrong_offset", {**FOG, "answers": {"text": ["a cloud"], "answer_start": [6]}}),
    ("wrong_offset", {**FOG, "answers": {"text": ["a cloud"], "answer_start": [-8]}}),
    ("wrong_offset", {**FOG, "answers": {"text": ["a cloud"], "answer_start": ["7"]}}),
    ("wrong_offset", {**FOG, "answers": {"text": ["F"], "answer_start": [False]}}),
    ("unknown_label", {**PICK, "better_response_id": 2}),
    ("unknown_label", {**PICK, "better_response_id": [0]}),
    ("unknown_label", {**SHP, "score_A": "many"}),
    ("unknown_label", {**SHP, "score_A": "nan"}),
    ("contradiction", {**SHP, "labels": 0}),
    ("contradiction", {**FOG, "is_impossible": True}),
    ("contradiction", {**FOG, "answers": {"text": ["a cloud"], "answer_start": []}}),
    ("unknown_label", {"messages": [TURNS[0], {**TURNS[1], "weight": 0.5}]}),
    ("unknown_label", {"messages": [TURNS[0], {**TURNS[1], "weight": 2}]}),
    ("unknown_label", {"messages": [TURNS[0], {**TURNS[1], "train": "maybe"}]}),
    ("contradiction", {"messages": [TURNS[0], {**TURNS[1], "train": False, "weight": 1}]}),
    ("more_than_text", {"messages": [TURNS[0], {**TURNS[1], "refusal": "No."}]}),
    ("more_than_text", {"messages": [{**TURNS[0], "tool_calls": [{"name": "f"}]}, TURNS[1]]}),
    ("more_than_text", {"messages": TURNS, "documents": [{"title": "x"}]}),
    ("missing_field", {"messages": [TURNS[0], {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}]}),
    ("missing_field", {"messages": TURNS, "tools": [{"type": "function"}]}),
    ("not_an_object", {"messages": TURNS, "tools": "[{"}),
    ("contradiction", {**QA, "label": False, "kto_tag": "true"}),
    ("nothing_to_learn", {"messages": [TURNS[0], {**TURNS[1], "weight": 0}]}),
    ("nothing_to_learn", {**PAIR, "chosen": [{**TURNS[1], "train": False}]}),
    ("empty_turn", {"messages": talk("Hi", "", "Hi?", "Hello")}),
    ("ends_with_user", {"messages": talk("Hi", "Hello", "Bye")}),
    ("unanswerable", {**FOG, "answers": {"text": [], "answer_start": []}}),
    ("unanswerable", {**FOG, "answers": [], "is_impossible": True}),
    ("tie", {**SHP, "score_A": 2}),
    ("tie", {"conversation_a": TURNS, "conversation_b": TURNS, "winner": "tie (bothbad)"}),
    ("unwanted_path", DELETED),
]
BY_POLICY = [
    ("system_turn", {"messages": [SYSTEM, *TURNS]}, {"system": "drop"}),
    ("role_order", {"messages": [TURNS[0], *TURNS]}, {"order": "drop"}),
]
ELSEWHERE = {
    "unreadable",
    "refused",
    "overlong",
    "bad_reply",
    "beyond_fraction",
    *errors.DUPLICATES,
}  # no parsed row has these


@pytest.mark.parametrize("reason, row", BROKEN)
def test_a_row_that_breaks_a_rule_says_which(reason, row):
    with pytest.raises(errors.RowError) as caught:
        said(row)
    assert caught.value.reason == reason
    assert len(str(caught.value)) < 200
    assert str(caught.value).isascii()


@pytest.mark.parametrize("reason, row, policy", BY_POLICY)
def test_a_row_that_a_policy_does_not_want_says_so(reason, row, policy):
    with pytest.raises(errors.RowError) as caught:
        wanted(*parsed(row), **policy)
    assert caught.value.reason == reason


def test_an_unreadable_row_keeps_its_message():
    (error,) = parsing.parse_row(RawRow(1, None, "cut short"), None, DEFAULT)
    assert (error.reason, str(error)) == ("unreadable", "the row cannot be read: cut short")


def test_every_reason_has_an_example_here():
    assert {reason for reason, *_ in BROKEN + BY_POLICY} | ELSEWHERE == set(get_args(errors.Reason))


def test_every_reason_has_one_place_and_one_sentence():
    assert list(errors.REASONS) == list(get_args(errors.Reason))
    assert len(errors.REASONS) == len(errors.QUARANTINED) + len(errors.SET_ASIDE) + len(errors.DUPLICATES)
    assert all(meaning.endswith(".") and "|" not in meaning for meaning in errors.REASONS.values())


def test_an_error_crosses_processes_whole():
    error = pickle.loads(pickle.dumps(errors.RowError("tie", "neither is better")))
    assert (error.reason, str(error)) == ("tie", "neither is better")


def test_a_text_with_something_to_see_is_not_blank():
    assert not any(map(fields.is_blank, ("\u200b.", " \ufeffa\u200b ", "\u200d\U0001f680", "a" * 9)))
    assert not any(map(fields.is_blank, ("\u2764\ufe0f", "\u0301", "\u0600", "\ufffd")))
    assert all(
        map(fields.is_blank, ("", " \u2028", "\ufeff \u200b\n\u2060", "\ufe0f", "\u2800", "\U000e0100", "\x1b\x7f"))
    )


@pytest.mark.parametrize("written", ["42", "-0.0", "1.50", "1E5", "0.1", "12345678901234567890123", "1e999"])
def test_a_number_is_the_text_that_is_written(written):
    row, _, _ = json_lines.parse_value(f'{{"question": "How many?", "answer": {written}}}', 0)
    (answer,) = [turn["content"] for turn in said(row)["messages"] if turn["role"] == "assistant"]
    assert answer == written


@pytest.mark.parametrize(
    "value, text", [(1.5, "1.5"), (7, "7"), (Decimal("1.50"), "1.50"), (math.nan, None), (True, None)]
)
def test_a_number_of_a_table_is_its_text(value, text):
    assert fields.written_number(value) == text
