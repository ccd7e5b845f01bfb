"""Chats as programs that serve models write them."""

import pytest
from single_rows import TURNS, parsed, said, talk

from refrain.data.shapes.errors import RowError

ASKED, ANSWERED = TURNS
SYSTEM = {"role": "system", "content": "Be kind."}
OPENAI = {"input": {"messages": [SYSTEM, ASKED], "tools": [], "parallel_tool_calls": True},
          "preferred_output": [ANSWERED], "non_preferred_output": [{"role": "assistant", "content": "Go"}]}  # fmt: skip
BATCH = {
    "custom_id": "r-1",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {"model": "x", "messages": TURNS[:1]},
}
CONTENTS = [{"role": "user", "parts": [{"text": "Hi"}]}, {"role": "model", "parts": [{"text": "Hel"}, {"text": "lo"}]}]


def refusal(row):
    (error,) = parsed(row)
    assert isinstance(error, RowError), error
    return error.reason


def response(*texts, **more):
    choices = [{"index": 0, "message": {"role": "assistant", "content": text}} for text in texts]
    return {"status_code": 200, "body": {"choices": choices}, **more}


def test_a_preference_of_openai_is_a_pair():
    assert said(OPENAI) == {"messages": [SYSTEM, *TURNS], "rejected": "Go"}
    assert refusal({**OPENAI, "input": {"messages": [ASKED], "documents": ["x"]}}) == "more_than_text"
    tools = [{"type": "function", "function": {"name": "rain"}}]
    assert said({**OPENAI, "input": {"messages": [ASKED], "tools": tools}})["tools"] == tools
    assert refusal({**OPENAI, "preferred_output": [ASKED]}) == "no_reply"


def test_each_choice_of_a_batch_is_a_conversation():
    one = {**BATCH, "response": response("Hello")}
    assert said(one) == {"messages": TURNS, "own_id": "r-1"}
    first, error, last = parsed({**BATCH, "response": response("Hello", None, "Hey")})
    assert (first["messages"], last["messages"]) == (TURNS, talk("Hi", "Hey"))
    assert (error.reason, str(error)) == ("not_text", "content of message of choice 2 of the row is null, not text")
    assert said({**BATCH, "response": response("Hello")["body"]})["messages"] == TURNS


def test_a_batch_may_hold_whole_chats():
    assert said({**BATCH, "body": {"messages": TURNS}})["messages"] == TURNS
    assert refusal({**BATCH, "response": {"status_code": 500, "body": {"error": {}}}}) == "no_reply"
    assert refusal({**BATCH, "response": "x"}) == "not_an_object"


@pytest.mark.parametrize("name", ["systemInstruction", "system_instruction"])
@pytest.mark.parametrize(
    "instruction", [{"role": "system", "parts": [{"text": "Be kind."}]}, {"parts": {"text": "Be kind."}}, "Be kind."]
)
def test_contents_are_turns_below_their_instruction(name, instruction):
    assert said({name: instruction, "contents": CONTENTS})["messages"] == [SYSTEM, *talk("Hi", "Hel\nlo")]
    assert said({"contents": CONTENTS})["messages"] == talk("Hi", "Hel\nlo")


@pytest.mark.parametrize("part, reason", [
    ({"functionCall": {"name": "f"}}, "more_than_text"), ({"inlineData": {"data": "x"}}, "more_than_text"),
    ({"text": "Hm.", "thought": True}, "more_than_text"), (7, "not_text"), ({"text": None}, "not_text"),
])  # fmt: skip
def test_a_part_that_is_no_text_costs_the_row(part, reason):
    assert refusal({"contents": [CONTENTS[0], {"role": "model", "parts": [part]}]}) == reason
