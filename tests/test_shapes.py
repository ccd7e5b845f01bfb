"""Rows of every shape become the same conversations, or say why not."""

from typing import get_args

import pytest

from refrain import shapes
from refrain.config import Source
from refrain.files import RawRow


def said(value, shape=None, **fields):
    """The conversation of a row that stands alone in its file."""
    source = Source("some/file.json", shape=shape, fields=fields)
    raw = RawRow(1, value)
    return shapes.conversation(raw, shapes.recognised(source, [raw]), fields)


def talk(*contents):
    return [
        {"role": role, "content": content} for role, content in zip(["user", "assistant"] * 9, contents, strict=False)
    ]


TURNS = talk("Hi", "Hello")


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
    with pytest.raises(shapes.RowError) as caught:
        said(row)
    assert caught.value.reason == reason
    assert len(str(caught.value)) < 200
    assert str(caught.value).isascii()


def test_no_input_goes_below_a_prompt_of_turns():
    with pytest.raises(shapes.RowError, match="prompt of the row is a list"):
        said({**PAIR, "prompt": talk("Hi"), "context": "x"}, input="context")


def test_an_unreadable_row_keeps_its_message():
    with pytest.raises(shapes.RowError, match="cut short") as caught:
        shapes.conversation(RawRow(1, None, "cut short"), None, {})
    assert caught.value.reason == "unreadable"


def test_every_reason_has_an_example_here():
    assert {reason for reason, _ in BROKEN} | {"unreadable"} == set(get_args(shapes.Reason))


def test_turns_of_one_speaker_in_a_row_are_allowed():
    messages = [TURNS[0], TURNS[0], TURNS[1], TURNS[1]]
    assert said({"messages": messages})["messages"] == messages
