"""Rows with tools go to a split where the template of the model writes them, and are named where it does not."""

import re

import prepare_stage
import pytest
from tool_templates import LOOP, SCHEMA, TOOL_TEMPLATES, WEATHER, asks, call, calls, gives, says

THOUGHT = [asks(), says("Rain.", reasoning_content="Hm."), asks("And now?"), says(reasoning_content="So.")]
BARE = [asks(), {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}}]


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda name, *rows: prepare_stage.run(("a.jsonl", list(rows), {}), jinja=TOOL_TEMPLATES[name])


def test_a_row_is_kept_with_its_tools_where_the_template_writes_them(prepare):
    other = {"messages": [*LOOP[:1], says()], "tools": [{"name": "wind", "parameters": SCHEMA}]}
    files = prepare("qwen2_5", {"messages": LOOP, "tools": [WEATHER]}, {"messages": BARE}, other)
    loop, bare, third = files["train"]
    assert loop == {"id": "0-a.jsonl:1", "messages": LOOP, "tools": [WEATHER]}
    assert bare["messages"][1]["tool_calls"] == [{"type": "function", "function": {"name": "weather", "arguments": {}}}]
    assert third["tools"] == [{"type": "function", "function": {"name": "wind", "parameters": SCHEMA}}]


@pytest.mark.parametrize("name, row, message", [
    ("chatml", {"messages": LOOP, "tools": [WEATHER]}, "the row has tools, which the chat template does not write; .*"),
    ("gemma", {"messages": [asks(), says(), gives(), says()]}, "turn 3 has role tool, which .*"),
    ("qwen2_5", {"messages": THOUGHT}, "turn 2 has reasoning_content, which the chat template does not write; .*"),
    ("llama3_1", {"messages": [asks(), calls(content="I see."), gives(), says()]}, ".* turn 2, beside its .*"),
])  # fmt: skip
def test_a_row_that_the_template_cannot_write_names_the_field(prepare, name, row, message):
    [rejected] = prepare(name, row, {"messages": [asks("a"), says("b")]})["quarantine"]
    assert rejected["reason"] == "more_than_text"
    assert re.fullmatch(message, rejected["message"])


def test_two_calls_where_the_template_takes_one_are_refused_in_its_words(prepare):
    row = {"messages": [asks(), calls(call(), call("Rome", id="abcdefgh2")), gives(), gives(id="abcdefgh2"), says()]}
    [rejected] = prepare("llama3_1", row, {"messages": LOOP})["quarantine"]
    assert rejected["reason"] == "refused" and "single tool-calls" in rejected["message"]


def test_rows_that_differ_in_their_calls_or_tools_alone_are_no_duplicates(prepare):
    rows = [{"messages": [asks(), calls(call(city))], "tools": [WEATHER]} for city in ("Oslo", "Rome", "Oslo")]
    files = prepare("qwen2_5", *rows, {"messages": rows[0]["messages"]})
    assert [row["id"] for row in files["train"]] == ["0-a.jsonl:1", "0-a.jsonl:2", "0-a.jsonl:4"]
    assert [row["of"] for row in files["duplicates"]] == ["0-a.jsonl:1"]


@pytest.mark.parametrize("name, messages, context", [
    ("qwen3", LOOP, [{1: False}, {}]),  # an empty thought before the last reply alone
    ("qwen3", THOUGHT, [{1: False}, {}]),
    ("qwen3_8", THOUGHT, [{}]),
    ("qwen2_5", [*LOOP, asks("And in Rome?"), says()], [{}]),
    ("mistral", [*LOOP, asks("And in Rome?"), says()], [{1: False, 3: False}, {}]),  # tools before the last question
])  # fmt: skip
def test_each_reply_is_learned_in_a_row_that_the_template_writes_as_it_is_asked(prepare, name, messages, context):
    tools = {} if messages is THOUGHT else {"tools": [WEATHER]}
    files = prepare(name, {"messages": messages, **tools})
    assert files["quarantine"] == []
    assert [row["id"] for row in files["train"]] == ["0-a.jsonl:1", "0-a.jsonl:1/2"][: len(context)]
    assert [{n: m["train"] for n, m in enumerate(row["messages"]) if "train" in m} for row in files["train"]] == context


def test_ids_are_given_where_the_template_wants_them(prepare):
    turns = [asks(), calls(call(id="call_17")), gives(id="call_17"), says()]
    [row] = prepare("mistral", {"messages": turns, "tools": [WEATHER]})["train"]
    [given], answered = row["messages"][1]["tool_calls"], row["messages"][2]["tool_call_id"]
    assert given["id"] == answered != "call_17" and len(answered) == 9
