"""Calls of tools: forced, read from replies, streamed, and given back with their results."""

import json
import re

import pytest
import served_model
import tool_templates
from openai import OpenAI

PATH = "/v1/chat/completions"
TIME = {"type": "function", "function": {"name": "time", "parameters": None}}
CITY = {"type": "object", "properties": {"city": {"enum": ["Oslo", "Bergen"]}}, "required": ["city"],
        "additionalProperties": False}  # fmt: skip
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "what falls", "parameters": CITY}}, TIME]
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Bergen"}}\n</tool_call>'


@pytest.fixture(scope="module", params=["qwen2_5", "hermes", "mistral", "llama3_1"])
def caller(request, serve, tmp_path_factory):
    folder = served_model.build(tmp_path_factory.mktemp("tools"), tool_templates.TOOL_TEMPLATES[request.param])
    return serve(model=str(folder))


@pytest.fixture(scope="module")
def qwen(serve, tmp_path_factory):
    template = tool_templates.TOOL_TEMPLATES["qwen2_5"]
    return serve(model=str(served_model.build(tmp_path_factory.mktemp("qwen"), template)))


def ask(**fields):
    return {"messages": [{"role": "user", "content": "Rain?"}], "tools": TOOLS, "seed": 3, "max_tokens": 200, **fields}


def says(text, **fields):
    """A request whose reply is this text."""
    return ask(guided_regex=re.escape(text).replace("\\ ", " ").replace("\\\n", "\n"), **fields)


def collect(events):
    """The words and the calls of a stream."""
    deltas = [choice["delta"] for event in events for choice in event["choices"]]
    words = "".join(delta.get("content") or "" for delta in deltas)
    return words, [call for delta in deltas for call in delta.get("tool_calls", [])]


@pytest.mark.parametrize("stream", [False, True])
def test_a_forced_call_is_a_call(caller, stream):
    choice = {"type": "function", "function": {"name": "weather"}}
    if stream:
        events = caller.stream(PATH, ask(tool_choice=choice))
        words, calls = collect(events)
        reason = events[-1]["choices"][0]["finish_reason"]
        assert [call["index"] for call in calls] == [0]
    else:
        answer = caller.post(PATH, ask(tool_choice=choice)).json()["choices"][0]
        words, calls, reason = answer["message"]["content"], answer["message"]["tool_calls"], answer["finish_reason"]
        assert words is None
    assert (not words, reason) == (True, "tool_calls")
    assert [call["function"]["name"] for call in calls] == ["weather"] and calls[0]["id"].startswith("call_")
    assert json.loads(calls[0]["function"]["arguments"])["city"] in ("Oslo", "Bergen")


def test_a_required_call_is_one_of_the_tools(qwen):
    for seed in range(4):
        answer = qwen.post(PATH, ask(tool_choice="required", seed=seed, parallel_tool_calls=False)).json()
        if answer["choices"][0]["finish_reason"] != "length":
            (call,) = answer["choices"][0]["message"]["tool_calls"]
            assert call["function"]["name"] in ("weather", "time")


@pytest.mark.parametrize(("text", "words", "count"), [
    (CALL, None, 1), (f"I look. {CALL}", "I look.", 1), (f"{CALL}\n{CALL}", None, 2),
    ("No <tool call>", "No <tool call>", 0),
    ("<tool_call>\n{}", "<tool_call>\n{}", 0), (CALL.replace("weather", "storm"), CALL.replace("weather", "storm"), 0),
], ids=str)  # fmt: skip
def test_words_and_calls_are_told_apart_in_streams_too(qwen, text, words, count):
    answer = qwen.post(PATH, says(text)).json()["choices"][0]
    assert answer["message"]["content"] == words and len(answer["message"].get("tool_calls", [])) == count
    assert answer["finish_reason"] == ("tool_calls" if count else "stop")
    streamed, calls = collect(qwen.stream(PATH, says(text)))
    assert streamed.strip() == (words or "") and [call["index"] for call in calls] == [*range(count)]
    assert [call["function"] for call in calls] == [
        call["function"] for call in answer["message"].get("tool_calls", [])
    ]
    if count == 2:
        assert len(collect(qwen.stream(PATH, says(text, parallel_tool_calls=False)))[1]) == 1


def test_a_call_and_its_result_come_back_into_the_prompt(qwen):
    call = qwen.post(PATH, says(CALL)).json()["choices"][0]["message"]
    result = {"role": "tool", "content": '{"rain": 3}', "tool_call_id": call["tool_calls"][0]["id"]}
    messages = [{"role": "user", "content": "Rain?"}, call, result]
    prompt = qwen.post("/apply-template", {"messages": messages, "tools": TOOLS}).json()["prompt"]
    assert CALL in prompt and '{"rain": 3}' in prompt and '"what falls"' in prompt
    assert qwen.post(PATH, ask(messages=messages)).status_code == 200


def test_what_cannot_be_called_is_refused(qwen, server):
    error = server.post(PATH, ask()).json()["error"]
    assert (error["code"], error["param"]) == ("unsupported", "tools")
    assert server.post(PATH, ask(tool_choice="none")).status_code == 200
    error = qwen.post(PATH, ask(tool_choice={"type": "function", "function": {"name": "storm"}})).json()["error"]
    assert error["param"] == "tool_choice"
    error = qwen.post(PATH, ask(tool_choice="required", response_format={"type": "json_object"})).json()["error"]
    assert error["param"] == "tool_choice"


def test_a_form_that_is_not_read_back_is_refused(serve, tmp_path_factory):
    template = tool_templates.TOOL_TEMPLATES["lfm2_2_5"]
    other = serve(model=str(served_model.build(tmp_path_factory.mktemp("lfm2"), template)))
    error = other.post(PATH, ask()).json()["error"]
    assert (error["code"], error["param"]) == ("unsupported", "tools") and "not read back" in error["message"]


def test_openais_client_reads_calls(qwen):
    client = OpenAI(base_url=f"{qwen.url}/v1", api_key="none", max_retries=0)
    message = client.chat.completions.create(
        **{**ask(tool_choice="required", parallel_tool_calls=False), "model": "refrain"}
    )
    assert message.choices[0].message.tool_calls[0].type == "function"
