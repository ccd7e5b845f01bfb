"""Tools, calls, results and thoughts have one form behind the reader, whatever the file calls them."""

import json

import pytest
from single_rows import DEFAULT, TURNS, parsed, said, talk, wanted

from refrain.data.readers.raw_rows import RawRow
from refrain.data.shapes import parsing, recognition
from refrain.data.shapes.errors import RowError
from refrain.pipeline.schema import SourceConfig

ASKED, ANSWERED = TURNS
FUNCTION = {"name": "rain", "arguments": {"city": "Öslo", "days": [1, None]}}
CALL = {"type": "function", "function": FUNCTION}
CALLING = {"role": "assistant", "content": "", "tool_calls": [CALL]}
RESULT = {"role": "tool", "content": "wet"}
LOOP = [ASKED, CALLING, RESULT, ANSWERED]
TEXT = json.dumps(FUNCTION)
SCHEMA = {"name": "rain", "description": "says it", "parameters": {"type": "object", "properties": {}}}
TOOLS = [{"type": "function", "function": SCHEMA}]


def turn(**keys):
    return {"role": "assistant", "content": "", **keys}


@pytest.mark.parametrize("calling", [
    turn(tool_calls=[CALL]),
    turn(content=None, tool_calls=[{**CALL, "function": {**FUNCTION, "arguments": json.dumps(FUNCTION["arguments"])}}]),
    {"role": "assistant", "tool_calls": json.dumps([CALL]), "refusal": None, "function_call": None},
    turn(tool_calls=[json.dumps(CALL)]),
    turn(function_call=FUNCTION, tool_calls=[]),
    turn(function_call={**FUNCTION, "arguments": json.dumps(FUNCTION["arguments"])}),
    turn(tool_calls=[{"name": "rain", "parameters": FUNCTION["arguments"]}]),
    {"role": "tool_call", "content": TEXT},
    {"from": "function_call", "value": f"[{TEXT}]"},
])  # fmt: skip
@pytest.mark.parametrize("result", [
    {"role": "tool", "content": "wet"}, {"role": "function", "content": "wet"}, {"from": "observation", "value": "wet"},
    {"role": "tool_response", "content": [{"type": "text", "text": "wet"}]}, {"role": "IPython", "content": "wet"},
])  # fmt: skip
def test_calls_and_results_of_every_form_are_one(calling, result):
    assert said({"messages": [ASKED, calling, result, ANSWERED]})["messages"] == LOOP


def test_ids_and_names_stay():
    calling = turn(tool_calls=[{**CALL, "id": "c1", "index": 0}])
    result = {**RESULT, "tool_call_id": "c1", "name": "rain"}
    messages = said({"messages": [ASKED, calling, result, ANSWERED]})["messages"]
    assert messages[1]["tool_calls"] == [{"id": "c1", **CALL}] and messages[2] == result


def test_turns_of_calls_are_one_with_the_words_before_them():
    second = {"role": "tool_call", "content": json.dumps({"name": "wind"})}
    messages = [ASKED, {**ANSWERED, "content": "Let me see."}, {"role": "tool_call", "content": TEXT}, second, RESULT]
    joined = said({"messages": [*messages, RESULT, ANSWERED]})["messages"]
    wind = {"type": "function", "function": {"name": "wind", "arguments": {}}}
    assert joined == [ASKED, turn(content="Let me see.", tool_calls=[CALL, wind]), RESULT, RESULT, ANSWERED]


@pytest.mark.parametrize("content, text", [
    ({"rain": "Ö"}, '{"rain": "Ö"}'), ([{"rain": 1}], '[{"rain": 1}]'), ([], "[]"), (3.5, "3.5"), ("", ""),
])  # fmt: skip
def test_what_a_tool_gives_back_may_be_json_or_nothing(content, text):
    assert said({"messages": [*LOOP[:2], {**RESULT, "content": content}, ANSWERED]})["messages"][2]["content"] == text


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
def test_thoughts_have_one_name(key):
    row = {"messages": [ASKED, {**ANSWERED, key: "Hm.\r\n"}]}
    assert said(row)["messages"] == [ASKED, {**ANSWERED, "reasoning_content": "Hm.\n"}]


@pytest.mark.parametrize("column, value", [
    ("tools", TOOLS), ("tools", [SCHEMA]), ("functions", [SCHEMA]), ("tools", json.dumps(TOOLS)), ("tools", SCHEMA),
    ("tools", [json.dumps(SCHEMA)]), ("tools", [{"type": "function", **SCHEMA}]), ("functions", json.dumps([SCHEMA])),
])  # fmt: skip
@pytest.mark.parametrize("row", [
    {"messages": TURNS}, {"conversations": TURNS}, {"question": "Hi", "answer": "Hello"},
    {"prompt": TURNS[:1], "chosen": TURNS[1:], "rejected": talk("Hi", "Go")},
])  # fmt: skip
def test_tools_of_every_form_are_one(row, column, value):
    conversation = said({**row, column: value})
    assert (conversation["tools"], conversation["messages"]) == (TOOLS, TURNS)


def test_a_number_may_be_a_name():
    row = {"messages": [ASKED, turn(tool_calls=[{"name": 7}])], "tools": [{"name": 7}]}
    assert said(row)["messages"][1]["tool_calls"][0]["function"]["name"] == "7"
    assert said(row)["tools"] == [{"type": "function", "function": {"name": "7"}}]


@pytest.mark.parametrize("text", ['<tools>[{"type": "function", "function": {"name": "rain"}}]', "{'name': 'rain'}"])
def test_tools_that_the_system_turn_lists_are_not_written_again(text):
    turns = [{"role": "system", "content": text}, *TURNS]
    assert said({"messages": turns, "tools": TOOLS}) == {"messages": turns}
    assert said({"conversations": TURNS, "system": text, "tools": TOOLS}) == {"messages": turns}
    assert "tools" in said({"messages": turns, "tools": [*TOOLS, {"name": "wind"}]})


def test_nulls_of_a_table_are_arguments_of_other_rows():
    call = {"type": "function", "function": {"name": "rain", "arguments": {"city": "Oslo", "days": None}}}
    unset = {"tool_calls": None, "name": None, "tool_call_id": None}
    turns = [{**ASKED, **unset}, {"role": "assistant", "content": None, **unset, "tool_calls": [call]}]
    row = {"messages": turns, "tools": [{"name": "rain", "parameters": {"days": None, "city": {"type": "string"}}}]}
    source, raws = SourceConfig("some/file"), [RawRow(1, row), RawRow(1, row, offset=7)]
    layout = recognition.recognise_layout(source, raws)
    table, text = (parsing.parse_row(raw, layout, DEFAULT)[0] for raw in raws)
    assert table["messages"][1]["tool_calls"][0]["function"]["arguments"] == {"city": "Oslo"}
    assert table["tools"][0]["function"]["parameters"] == {"city": {"type": "string"}}
    assert text["messages"][1]["tool_calls"] == [call]


@pytest.mark.parametrize("reason, message, row", [
    ("not_an_object", "arguments of call 1 in tool_calls of turn 2 of messages is no JSON",
     {"messages": [ASKED, turn(tool_calls=[{**CALL, "function": {**FUNCTION, "arguments": "{'a': 1}"}}])]}),
    ("not_an_object", "arguments of call 1 in function_call of turn 2 of messages is a list",
     {"messages": [ASKED, turn(function_call={"name": "f", "arguments": [1]})]}),
    ("not_an_object", "value of turn 2 of conversations is no JSON",
     {"conversations": [ASKED, {"from": "function_call", "value": "rain(Oslo)"}]}),
    ("not_an_object", "nested deeper than 250 levels",
     {"messages": [ASKED, turn(function_call={"name": "f", "arguments": '{"a":' * 300 + "1" + "}" * 300})]}),
    ("not_an_object", "nested deeper than 250 levels", {"messages": TURNS, "tools": "[" * 100_000}),
    ("not_an_object", "NaN is no number",
     {"messages": [ASKED, turn(function_call={"name": "f", "arguments": '{"a": NaN}'})]}),
    ("more_than_text", "tool 1 in tools of the row is of type 'code_interpreter'",
     {"messages": TURNS, "tools": [{"type": "code_interpreter"}]}),
    ("more_than_text", "call 1 in tool_calls of turn 2 of messages is of type 'custom'",
     {"messages": [ASKED, turn(tool_calls=[{"type": "custom", "custom": {}}])]}),
    ("bad_text", "holds a NUL", {"messages": [ASKED, turn(function_call={"name": "f", "arguments": {"\0": 1}})]}),
    ("contradiction", "reasoning and thinking of turn 2 of messages differ",
     {"messages": [ASKED, {**ANSWERED, "reasoning": "a", "thinking": "b"}]}),
    ("more_than_text", "rejected has tool_calls",
     {"prompt": [ASKED], "chosen": [ANSWERED], "rejected": [CALLING]}),
    ("other_prompt", "chosen and rejected differ before their last turns",
     {"chosen": LOOP, "rejected": [ASKED, turn(function_call={"name": "f"}), RESULT, {**ANSWERED, "content": "Go"}]}),
    ("ends_with_user", "the last turn is the tool's", {"messages": LOOP[:3]}),
])  # fmt: skip
def test_what_is_no_tool_call_is_named(reason, message, row):
    with pytest.raises(RowError) as caught:
        said(row)
    assert (caught.value.reason, message in str(caught.value)) == (reason, True), str(caught.value)


def test_policies_reach_what_is_called_and_leave_its_blanks():
    calling = turn(tool_calls=[{"name": "f", "arguments": {"to": " a@example.org\r\n"}}], reasoning=" Hm.")
    tools = [{**SCHEMA, "description": "of b@example.org"}]
    (conversation,) = parsed({"messages": [ASKED, calling, RESULT, RESULT, ANSWERED], "tools": tools})
    clean = wanted(conversation, whitespace="strip", pii=["email"], order="drop")
    [call] = clean["messages"][1]["tool_calls"]
    assert call["function"]["arguments"] == {"to": " [email]\n"}
    assert clean["messages"][1]["reasoning_content"] == "Hm."
    assert clean["tools"][0]["function"]["description"] == "of [email]"
