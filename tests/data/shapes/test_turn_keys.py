"""What stands beside the text of a turn or a row is honoured, or costs the row; nothing is dropped unseen."""

import pytest
from single_rows import TURNS, parsed, said, talk, wanted

from refrain.data.shapes import registry
from refrain.data.shapes.errors import RowError

ASKED, ANSWERED = TURNS
LATER = talk("No", "Sorry")


def refusal(row, shape=None, **fields):
    """Why there is no conversation in a row, and what is said of it."""
    (error,) = parsed(row, shape, **fields)
    assert isinstance(error, RowError), error
    return error.reason, str(error)


@pytest.mark.parametrize("key, value", [
    ("weight", 0), ("weight", 0.0), ("train", False), ("training", False), ("trainable", False), ("loss", False),
    ("loss_weight", 0), ("loss_scale", 0.0), ("train_on_turn", False), ("loss_mask", 0), ("mask", 1), ("masked", True),
    ("Weight", 0), ("trainOnTurn", False), ("compute_loss", False), ("no_loss", True),
])  # fmt: skip
def test_a_turn_that_is_not_to_be_learned_stays_as_context(key, value):
    expected = [ASKED, {**ANSWERED, "train": False}, *LATER]
    assert said({"messages": [ASKED, {**ANSWERED, key: value}, *LATER]})["messages"] == expected
    sharegpt = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello", key: value}]
    assert said({"conversations": [*sharegpt, *LATER]})["messages"] == expected
    learned = [{**ANSWERED, key: None}, {**ANSWERED, key: not value}, {**ANSWERED, key: 1 - value}]
    assert [said({"messages": [ASKED, turn]})["messages"] for turn in learned] == [TURNS] * 3


@pytest.mark.parametrize("value", ["0", "0.0", "false", "False", " no "])
def test_what_says_so_may_be_a_text(value):
    turn = {**ANSWERED, "weight": value}
    assert said({"messages": [ASKED, turn, *LATER]})["messages"][1] == {**ANSWERED, "train": False}
    assert said({"messages": [ASKED, {**ANSWERED, "train": "True"}]})["messages"] == TURNS
    assert refusal({"messages": [ASKED, {**ANSWERED, "weight": "0.5"}]})[0] == "unknown_label"


def test_what_the_turn_of_a_user_weighs_says_nothing():
    assert said({"messages": [{**ASKED, "weight": 0.5, "train": False}, ANSWERED]})["messages"] == TURNS


def test_a_better_reply_keeps_the_context_before_it():
    chosen = [ASKED, {**ANSWERED, "weight": 0}, *LATER]
    row = {"chosen": chosen, "rejected": [*TURNS, LATER[0], {**LATER[1], "content": "Go", "weight": 0}]}
    assert said(row) == {"messages": [ASKED, {**ANSWERED, "train": False}, *LATER], "rejected": "Go"}


@pytest.mark.parametrize("key, value", [
    ("tool_plan", "Look."), ("tools", [{"name": "f"}]), ("reasoning_details", [{"text": "Hm."}]), ("thought", "Hm."),
    ("images", ["a.png"]), ("audio", {"id": "a"}), ("refusal", "I can not."), ("prefix", True),
    ("name", "Ann"), ("tool_call_id", "1"), ("train_detail", [{"begin_offset": 0}]),
])  # fmt: skip
def test_a_key_that_changes_what_is_written_costs_the_row(key, value):
    for turns in ([ASKED, {**ANSWERED, key: value}], [{**ASKED, key: value}, ANSWERED]):
        reason, message = refusal({"messages": turns})
        assert reason == "more_than_text"
        assert key in message
    for empty in (None, "", [], {}, False, " ", "[]"):
        assert said({"messages": [ASKED, {**ANSWERED, key: empty}]})["messages"] == TURNS


def test_a_name_that_is_the_role_says_nothing():
    assert said({"messages": [{**ASKED, "name": "User"}, {**ANSWERED, "name": "assistant"}]})["messages"] == TURNS


@pytest.mark.parametrize("row, column", [
    ({"messages": TURNS, "documents": "[{}]"}, "documents"),
    ({"conversations": TURNS, "image": "a.png"}, "image"),
    ({"messages": TURNS, "chat_template_kwargs": {"enable_thinking": False}}, "chat_template_kwargs"),
    ({"question": "Hi", "answer": "Hello", "image": {"bytes": "x"}}, "image"),
    ({"instruction": "Hi", "output": "Hello", "images": ["a.png"]}, "images"),
])  # fmt: skip
def test_a_column_that_a_template_would_write_costs_the_row(row, column):
    reason, message = refusal(row)
    assert reason == "more_than_text"
    assert column in message
    assert said({**row, column: "[]"})["messages"] == said({**row, column: None})["messages"] == TURNS


def test_a_text_beside_a_question_may_be_anything():
    row = {"question": "Hi", "answer": "Hello", "image": "https://example.org/a.png", "tools": "a hammer"}
    assert said(row) == {"messages": TURNS}


def test_a_column_that_fields_name_is_read():
    assert said({"tools": "Hi", "answer": "Hello"}, question="tools")["messages"] == TURNS


def test_parts_of_text_are_one_text_and_others_cost_the_row():
    parts = [{"type": "text", "text": "Hel"}, {"type": "output_text", "text": "lo"}]
    assert said({"messages": [ASKED, {**ANSWERED, "content": parts}]})["messages"][1]["content"] == "Hel\nlo"
    picture = [{"type": "image_url", "image_url": {"url": "a.png"}}, parts[0]]
    assert refusal({"messages": [{**ASKED, "content": picture}, ANSWERED]})[0] == "more_than_text"
    assert refusal({"messages": [{**ASKED, "content": [{"type": "text"}]}, ANSWERED]})[0] == "not_text"


@pytest.mark.parametrize("row", [
    {"prompt": "Hi", "completion": "Hello"}, {"messages": TURNS}, {"conversations": TURNS},
    {"question": "Hi", "answer": "Hello"}, {"instruction": "Hi", "output": "Hello"},
])  # fmt: skip
def test_a_reply_keeps_what_its_row_calls_it(row):
    for column, value in (
        ("label", False),
        ("kto_tag", False),
        ("label", "False"),
        ("kto_tag", "false "),
        ("kto_tag", 0),
    ):
        assert said({**row, column: value}) == {"messages": TURNS, "label": False}
    for value in (True, "true", None, "", "cats", 0, 1, 2, ["x"], 0.0):
        assert said({**row, "label": value, "kto_tag": True}) == {"messages": TURNS, "label": True}
    for value in (None, "", "cats", 0, 1, 2):
        assert said({**row, "label": value}) == {"messages": TURNS}
    assert refusal({**row, "kto_tag": "cats"}) == (
        "unknown_label",
        "kto_tag of the row is 'cats', neither true nor false",
    )


def test_a_label_that_fields_name_may_be_a_number():
    row = {"prompt": "Hi", "completion": "Hello", "good": 1}
    assert [said({**row, "good": good}, label="good")["label"] for good in (1, 0, "1", True)] == [
        True,
        False,
        True,
        True,
    ]
    assert refusal({**row, "good": 3}, label="good")[0] == "unknown_label"
    assert said({"prompt": "Hi", "completion": "Hello", "label": 0}, label="label")["label"] is False


def test_a_label_speaks_of_the_last_reply_and_goes_with_it():
    chat = {"messages": [*TURNS, LATER[0], {**LATER[1], "weight": 0}]}
    assert said({**chat, "label": True}) == {"messages": TURNS}
    with pytest.raises(RowError, match=r"^the reply that is called bad is not to be learned$"):
        said({**chat, "label": False})
    context = {"messages": [ASKED, {**ANSWERED, "weight": 0}, *LATER], "label": False}
    assert said(context)["label"] is False
    (asks_last,) = parsed({"messages": [*chat["messages"], ASKED], "label": True})
    assert wanted(asks_last, unanswered="cut") == {"messages": TURNS}


def test_every_shape_of_one_reply_knows_the_labels():
    single = {"messages", "sharegpt", "utterances", "alpaca", "qa", "completion", "openai_batch", "anthropic_batch",
              "gemini", "question_lists", "choices", "squad", "instances"}  # fmt: skip
    assert {shape.name for shape in registry.SHAPES if "label" in shape.optional} - {"transcript"} == single
