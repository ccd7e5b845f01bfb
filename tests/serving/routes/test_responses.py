"""/v1/responses as openai-python asks for it, and as others do who know it less well."""

import json

import openai
import pytest

from refrain.serving.responses.session_store import FILE

QUESTION = {"input": "Hello \U0001f642", "max_output_tokens": 8, "seed": 1, "temperature": 1}
TEXT_EVENTS = [
    "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
    "response.output_text.delta", "response.output_text.done", "response.content_part.done",
    "response.output_item.done", "response.incomplete",
]  # fmt: skip
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
SCHEMA = {"type": "object", "properties": {"a": {"enum": ["x"]}}, "required": ["a"], "additionalProperties": False}


@pytest.fixture(scope="module")
def stored(serve, tmp_path_factory):
    """A server with a folder for sessions."""
    return serve(sessions=str(tmp_path_factory.mktemp("sessions")))


@pytest.fixture(params=["server", "stored"])
def either(request):
    """With a folder and without."""
    return request.getfixturevalue(request.param)


def client_of(running):
    return openai.OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0)


def create(running, **fields):
    answer = running.post("/v1/responses", {**QUESTION, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


def text_of(response):
    return response["output"][0]["content"][0]["text"]


def without_ids(event):
    return json.loads(json.dumps({key: value for key, value in event.items() if key not in ("item_id", "id")}))


def test_openai_python_asks_and_goes_on(either):
    client = client_of(either)
    first = client.responses.create(input="Hello", max_output_tokens=8, temperature=0, metadata={"a": "b"})
    assert (first.status, first.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert first.usage.output_tokens == 8 and first.metadata == {"a": "b"} and first.output_text
    second = client.responses.create(input="More", previous_response_id=first.id, max_output_tokens=8, temperature=0)
    turns = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": first.output_text},
             {"role": "user", "content": "More"}]  # fmt: skip
    again = client.responses.create(input=turns, max_output_tokens=8, temperature=0, store=False)
    assert second.output_text == again.output_text and second.usage.input_tokens == again.usage.input_tokens
    assert client.responses.retrieve(second.id).output_text == second.output_text
    items = client.responses.input_items.list(second.id, order="asc", limit=2)
    assert [item.content[0].text for item in items] == [turn["content"] for turn in turns]  # over two pages
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError, match="no such response is stored"):
        client.responses.retrieve(first.id)
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(input="More", previous_response_id=second.id)
    assert refused.value.code == "previous_response_not_found" and refused.value.param == "previous_response_id"
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(again.id)  # store was false


def test_a_stream_brings_openais_events_and_the_same_text(either):
    whole, events = create(either), []
    for event in client_of(either).responses.create(**QUESTION_OF_OPENAI, stream=True):
        events.append(event)
    assert list(dict.fromkeys(event.type for event in events)) == TEXT_EVENTS
    assert [event.sequence_number for event in events] == [*range(len(events))]
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    last = events[-1].response
    assert text == text_of(whole) == last.output_text and last.status == whole["status"]
    assert last.refrain["seed"] == 1 and last.refrain["seal"] == whole["refrain"]["seal"]
    assert client_of(either).responses.retrieve(last.id).output_text == text


QUESTION_OF_OPENAI = {"input": QUESTION["input"], "temperature": 1, "max_output_tokens": 8, "extra_body": {"seed": 1}}


def test_each_event_is_named_and_none_says_done(server):
    answer = server.post("/v1/responses", {**QUESTION, "stream": True})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8" and answer.text.isascii()
    blocks = [block.split("\n") for block in answer.text.strip().split("\n\n")]
    for name, data in blocks:
        assert name == f"event: {json.loads(data.removeprefix('data: '))['type']}"
    assert "[DONE]" not in answer.text


def test_the_helper_of_openai_python_for_streams_collects_a_response(server):
    form = {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}}
    with client_of(server).responses.stream(model="refrain", input="Hello", text=form) as stream:
        assert json.loads(stream.get_final_response().output_text) == {"a": "x"}


def test_a_format_holds_the_reply(server):
    form = {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA, "strict": True}}
    response = create(server, text=form, max_output_tokens=50)
    assert response["status"] == "completed" and json.loads(text_of(response)) == {"a": "x"}
    assert response["text"]["format"]["schema"] == SCHEMA and response["output"][0]["status"] == "completed"


def test_instructions_are_a_system_turn_for_this_once(server):
    plain, told = create(server), create(server, instructions="Be brief.")
    system = create(
        server, input=[{"role": "developer", "content": "Be brief."}, {"role": "user", "content": QUESTION["input"]}]
    )
    assert text_of(told) == text_of(system) and told["usage"]["input_tokens"] > plain["usage"]["input_tokens"]
    both = create(server, input=[{"role": "system", "content": "In verse."}, {"role": "user", "content": "Hi"}],
                  instructions="Be brief.")  # fmt: skip
    one = create(server, input="Hi", instructions="Be brief.\n\nIn verse.")
    assert text_of(both) == text_of(one) and both["usage"]["input_tokens"] == one["usage"]["input_tokens"]
    after = create(server, input="More", previous_response_id=told["id"])
    untold = create(server, input="More", previous_response_id=plain["id"])
    shorter = told["usage"]["input_tokens"] - plain["usage"]["input_tokens"]
    assert abs(after["usage"]["input_tokens"] - untold["usage"]["input_tokens"]) < shorter


def test_a_reply_that_says_nothing_is_a_message_all_the_same(server):
    body = {**QUESTION, "stop": text_of(create(server))[0]}
    response = create(server, **body)
    assert (response["status"], text_of(response)) == ("completed", "")
    stream = server.post("/v1/responses", {**body, "stream": True}).text
    assert [name for name in TEXT_EVENTS[:-1] if f"event: {name}\n" not in stream] == ["response.output_text.delta"]


def test_log_probabilities_come_where_they_are_included(server):
    response = create(server, include=["message.output_text.logprobs"], top_logprobs=2)
    logprobs = response["output"][0]["content"][0]["logprobs"]
    assert logprobs and all(len(each["top_logprobs"]) == 2 and each["logprob"] <= 0 for each in logprobs)
    events = server.post(
        "/v1/responses", {**QUESTION, "include": ["message.output_text.logprobs"], "top_logprobs": 2, "stream": True}
    )
    deltas = [json.loads(line[6:]) for line in events.text.splitlines() if line.startswith("data: ")]
    streamed = [each for event in deltas if event["type"] == "response.output_text.delta" for each in event["logprobs"]]
    assert streamed == logprobs


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"input": None}, "input", "invalid_value"),
        ({"input": []}, "input", "invalid_value"),
        ({"input": [1]}, "input[0]", "invalid_value"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role", "invalid_value"),
        ({"input": [{"role": "user"}]}, "input[0].content", "invalid_value"),
        ({"input": [{"role": "user", "content": "x", "colour": 1}]}, "input[0].colour", "unknown_parameter"),
        ({"input": [{"type": "reasoning", "summary": []}]}, "input[0].type", "unsupported"),
        ({"input": [{"type": ["x"]}]}, "input[0].type", "unsupported"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "input[0].content[0].type",
            "unsupported",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text"}]}]},
            "input[0].content[0].text",
            "invalid_value",
        ),
        ({"input": [{"role": "assistant", "content": "x"}]}, "input", "invalid_value"),
        ({"input": [CALL | {"arguments": "{"}]}, "input[0].arguments", "invalid_value"),
        ({"input": [CALL | {"arguments": "[]"}]}, "input[0].arguments", "invalid_value"),
        ({"input": [CALL, {"role": "user", "content": "x"}]}, "input", "invalid_value"),
        ({"input": "x" * 3000}, "input", "context_length_exceeded"),
        ({"max_output_tokens": 0}, "max_output_tokens", "invalid_value"),
        ({"max_tokens": 5}, "max_tokens", "unknown_parameter"),
        ({"temprature": 1}, "temprature", "unknown_parameter"),
        ({"temperature": -1}, "temperature", "invalid_value"),
        ({"background": True}, "background", "unsupported"),
        ({"conversation": "c"}, "conversation", "unsupported"),
        ({"reasoning": {"effort": "high"}}, "reasoning.effort", "invalid_value"),
        ({"text": {"format": {"type": "json_schema", "name": "a"}}}, "text.format.schema", "invalid_value"),
        (
            {"text": {"format": {"type": "json_schema", "name": "a", "schema": {"type": "x"}}}},
            "text.format.schema",
            "invalid_schema",
        ),
        ({"include": ["web_search_call.results"]}, "include", "unsupported"),
        ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
        ({"metadata": {"k" * 65: "v"}}, "metadata", "invalid_value"),
        ({"metadata": {"k": 1}}, "metadata", "invalid_value"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "unsupported"),
        ({"tools": [{"type": "function", "name": "f", "parameters": {}}]}, "tools", "unsupported"),
        ({"tools": [{"type": "function", "name": "a b"}]}, "tools[0].name", "invalid_value"),
        ({"tool_choice": {"type": "mcp"}}, "tool_choice.type", "unsupported"),
        ({"previous_response_id": "resp_none"}, "previous_response_id", "previous_response_not_found"),
        ({"model": "gpt-9"}, "model", "model_not_found"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_done_is_refused_by_name_before_anything_is_sent(server, fields, param, code, stream):
    answer = server.post("/v1/responses", {**QUESTION, **fields, "stream": stream})
    assert answer.status_code in (400, 404), answer.text
    error = answer.json()["error"]
    assert (error["param"], error["code"]) == (param, code) and param in error["message"]


def test_a_method_that_is_not_there_names_those_that_are(server):
    refused = server.client.put("/v1/responses/x")
    assert refused.status_code == 405 and {*refused.headers["Allow"].split(", ")} == {"DELETE", "GET", "HEAD"}


def test_fields_without_effect_are_named(server):
    answer = server.post("/v1/responses", {**QUESTION, "user": "x", "include": ["reasoning.encrypted_content"]})
    assert answer.headers["X-Refrain-Ignored"].startswith("user")


def test_the_oldest_turns_leave_where_that_is_allowed(server):
    items = [
        {"role": "user", "content": "x" * 900},
        {"role": "assistant", "content": "y"},
        {"role": "user", "content": "z" * 400},
    ]
    assert (
        server.post("/v1/responses", {**QUESTION, "input": items}).json()["error"]["code"] == "context_length_exceeded"
    )
    assert create(server, input=items, truncation="auto")["refrain"]["truncated_messages"] == 2


def test_where_a_response_is_kept_is_said(server, stored):
    assert create(server)["refrain"]["stored"] == "memory" and create(stored)["refrain"]["stored"] == "sessions"
    assert "stored" not in create(stored, store=False)["refrain"]
    body = {**QUESTION, "previous_response_id": "resp_x"}
    assert "--sessions FOLDER" in server.post("/v1/responses", body).json()["error"]["message"]


def test_a_full_disk_costs_no_answer(serve, tmp_path):
    running = serve(sessions=str(tmp_path))
    first = create(running)
    connection = running.server.sessions._connection
    connection.execute("PRAGMA max_page_count = 1")  # as many as there are
    fill = (create(running, input="x" * 900) for _ in range(50))
    full = next(response for response in fill if response["refrain"]["stored"] is None)
    assert text_of(full) and full["store"] is False
    assert "not stored (database or disk is full)" in full["refrain"]["not_stored"]
    assert running.get(f"/v1/responses/{first['id']}").json() == first
    assert running.get(f"/v1/responses/{full['id']}").status_code == 404
    streamed = running.post("/v1/responses", {**QUESTION, "input": "x" * 900, "stream": True}).text
    assert "database or disk is full" in streamed.rpartition("event: ")[2]


def test_conversations_outlive_the_server(serve, tmp_path):
    first = serve(sessions=str(tmp_path))
    begun = create(first)
    other = serve(sessions=str(tmp_path))
    assert create(other, input="More", previous_response_id=begun["id"])["previous_response_id"] == begun["id"]
    assert (tmp_path / FILE).exists()


def test_a_stream_that_breaks_says_so_twice(serve):
    running = serve()
    backend = running.server.models.default.backend
    decode, steps = backend._engine._slots.decode, iter(range(100))
    backend._engine._slots.decode = lambda ids: decode(ids) * (1.0 if next(steps) < 3 else float("nan"))
    client, events = client_of(running), []
    with pytest.raises(openai.APIError, match="nan"):
        for event in client.responses.create(input="Hello", stream=True):
            events.append(event)
    assert events[-1].type == "response.failed" and events[-1].response.error.code == "reply_failed"
    assert "response.output_text.delta" in {event.type for event in events}
    assert running.get(f"/v1/responses/{events[0].response.id}").status_code == 404
