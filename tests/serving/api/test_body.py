"""Of each field it is said what becomes of it, before anything runs."""

import json

import pytest
from places import ROOT

MESSAGES = [{"role": "user", "content": "Hello"}]
IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}
NESTED = json.loads("[" * 101 + "]" * 101)
REFUSED = [  # a field and its value, the code, and the param where it is another one
    ({"tempratur": 1}, "unknown_parameter"),
    ({"temperature": -1}, "invalid_value"),
    ({"temperature": "hot"}, "invalid_value"),
    ({"temperature": True}, "invalid_value"),
    ({"top_p": 2}, "invalid_value"),
    ({"top_p": 0}, "invalid_value"),
    ({"top_k": -2}, "invalid_value"),
    ({"repetition_penalty": 1e-163}, "invalid_value"),  # logits divided by it would be infinite
    ({"seed": -2}, "invalid_value"),
    ({"max_tokens": 0}, "invalid_value"),
    ({"max_tokens": 1.5}, "invalid_value"),
    ({"n_predict": 4, "max_tokens": 3}, "invalid_value"),
    ({"max_completion_tokens": 4, "max_tokens": 3}, "invalid_value"),
    ({"n": 0}, "invalid_value"),
    ({"n": 10**9}, "invalid_value"),
    ({"stop": ""}, "invalid_value"),
    ({"stop": ["a", ""]}, "invalid_value"),
    ({"stop": [1]}, "invalid_value", "stop[0]"),
    ({"stream_options": {"usage": True}}, "unknown_parameter", "stream_options.usage"),
    ({"logit_bias": {"a": 1}}, "invalid_value"),
    ({"logit_bias": {"259": 1}}, "invalid_value"),
    ({"logit_bias": {"1": 101}}, "invalid_value"),
    ({"top_logprobs": 2}, "invalid_value"),
    ({"logprobs": True, "top_logprobs": 21}, "invalid_value", "top_logprobs"),
    ({"messages": []}, "invalid_value"),
    ({"messages": None}, "invalid_value"),
    ({"messages": [1]}, "invalid_value", "messages[0]"),
    ({"messages": [{"content": "a"}]}, "invalid_value", "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "invalid_value", "messages[0].content"),
    ({"messages": [{"role": "user", "content": None}]}, "invalid_value", "messages[0].content"),
    ({"messages": [{"role": "robot", "content": "a"}]}, "invalid_value", "messages[0].role"),
    ({"messages": [{"role": "user", "contnt": "a"}]}, "unknown_parameter", "messages[0].contnt"),
    ({"messages": [{"role": "user", "content": "a", "tool_calls": [{}]}]}, "unsupported", "messages[0].tool_calls"),
    ({"messages": [{"role": "user", "content": [IMAGE]}]}, "unsupported", "messages[0].content[0].type"),
    ({"messages": [*MESSAGES, {"role": "assistant", "content": "Well"}]}, "invalid_value", "messages"),
    ({"messages": [*MESSAGES, {"role": "assistant", "tool_calls": [{}]}]}, "invalid_value", "messages[1].tool_calls"),
    ({"continue_final_message": True}, "invalid_value"),
    ({"continue_final_message": True, "add_generation_prompt": True}, "invalid_value", "add_generation_prompt"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "unsupported"),
    ({"tools": [{"type": "function", "function": {"name": "ü"}}]}, "invalid_value", "tools[0].function.name"),
    ({"tools": [{"type": "web_search"}]}, "invalid_value", "tools[0].type"),
    ({"tool_choice": "required"}, "invalid_value"),
    ({"tool_choice": "always"}, "invalid_value"),
    ({"response_format": {"type": "json_schema"}}, "invalid_value", "response_format.json_schema.schema"),
    ({"response_format": {"type": "xml"}}, "invalid_value", "response_format.type"),
    ({"response_format": {"type": "json_object"}, "guided_regex": "a"}, "invalid_value", "guided_regex"),
    ({"guided_regex": "[a"}, "invalid_schema"),
    ({"guided_json": "{"}, "invalid_schema"),
    ({"guided_json": {"type": "object", "properties": {"a": {"pattern": "(?=b)"}}}}, "invalid_schema"),
    ({"structured_outputs": {"choice": []}}, "invalid_value", "structured_outputs.choice"),
    ({"best_of": 2}, "unsupported"),
    ({"suffix": "a"}, "unsupported"),
    ({"reasoning_effort": "high"}, "unsupported"),
    ({"modalities": ["text", "audio"]}, "unsupported"),
    ({"mirostat": 2}, "unsupported"),
    ({"metadata": NESTED}, "invalid_value", None),
    ({"truncate": "newest"}, "invalid_value"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fields", "code", "param"), [(*case, *case[0])[:3] for case in REFUSED], ids=lambda part: str(part)[:60]
)
def test_what_has_no_meaning_or_no_effect_is_refused_by_name(server, fields, code, param, stream):
    answer = server.chat(stream=stream, **fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, code, param)
    assert (param or "the body") in error["message"] and error["type"] == "invalid_request_error"


def list_refused():
    """The rows of the page's table: fields, code and param."""
    section = (ROOT / "docs/serving.md").read_text().split("### What is refused\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `{")]
    return [(json.loads(fields.strip("`")), code.strip("`"), param.strip("`")) for fields, code, param in rows]


@pytest.mark.parametrize(("fields", "code", "param"), list_refused(), ids=str)
def test_what_the_page_says_is_refused(server, fields, code, param):
    error = server.chat(**fields).json()["error"]
    assert (error["code"], error["param"]) == (code, param)


@pytest.mark.parametrize("fields", [{"stream": 1}, {"stream_options": {"include_usage": True}}], ids=str)
def test_what_is_said_of_streams_is_checked(server, fields):
    assert server.chat(**fields).json()["error"]["param"] in fields


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"null", b'"a"', b'{"messages": NaN}', b'{"seed": 1e999}', b"\xff", b"[" * 100_000,
    b'{"a": ' * 100_000, b'{"messages": [{"role": "user", "content": "\\ud800"}]}', b'{"messages"', b"{}",
])  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize"])
def test_a_body_that_is_none_is_refused(server, path, body):
    answer = server.client.post(path, content=body)
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "invalid_value"


def test_a_typo_is_answered_with_the_near_name(server):
    assert server.chat(max_tokns=3).json()["error"]["message"].endswith("did you mean max_tokens?")
    assert server.chat(öä=3).json()["error"]["message"].endswith("leave it out")


@pytest.mark.parametrize("fields", [
    {"tools": []}, {"tools": None, "tool_choice": "none"}, {"tool_choice": "auto"}, {"stop": None},
    {"stop": list("12345")}, {"response_format": {"type": "text"}}, {"logit_bias": {"1": -100}}, {"temperature": 0},
    {"top_k": -1}, {"seed": 2**70}, {"modalities": ["text"]}, {"best_of": 1}, {"min_tokens": 0.0}, {"seed": -1},
    {"n_predict": 8, "max_tokens": 8}, {"max_completion_tokens": 8}, {"max_tokens": 10**30}, {"temperature": 1e300},
    {"functions": [], "function_call": "none"}, {"stream_options": None},
    dict.fromkeys(("model", "temperature", "n", "seed", "logprobs", "stream", "user", "min_tokens", "tool_choice")),
], ids=str)  # fmt: skip
def test_values_that_change_nothing_pass(server, fields):
    answer = server.chat(**fields)
    assert answer.status_code == 200 and "X-Refrain-Ignored" not in answer.headers


@pytest.mark.parametrize("stream", [False, True])
def test_fields_without_effect_are_named(server, stream):
    messages = [{"role": "user", "content": "Hello", "name": "Ann"}]
    answer = server.chat(user="ann", metadata={"a": "b"}, store=None, messages=messages, stream=stream)
    assert answer.headers["X-Refrain-Ignored"] == "user, metadata, messages%5B0%5D.name"


def test_a_lenient_server_ignores_what_it_does_not_know(serve):
    lenient = serve(lenient=True)
    answer = lenient.chat(tempratur=1, mirostat=2, **{"ü\n": 1})
    assert answer.headers["X-Refrain-Ignored"] == "tempratur, mirostat, %C3%BC%0A"
    assert lenient.chat(temperature=-1).status_code == 400
