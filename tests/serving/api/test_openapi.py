"""The document tells the truth: of the routes, of what they take, and of what they answer."""

import msgspec
import pytest
from openai.types import completion_create_params
from openai.types.chat import completion_create_params as chat_create_params
from starlette.routing import Route

from benchmarks import fuzz
from refrain.serving.api.openapi import OPERATIONS

MESSAGES = [{"role": "user", "content": "Hello"}]
FORMAT = {"type": "json_schema", "json_schema": {"schema": {"enum": ["a"]}}}
REQUESTS = [
    ("POST", "/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 3, "logprobs": True, "n": 2}),
    ("POST", "/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 3, "logprobs": True, "top_logprobs": 2}),
    ("POST", "/v1/chat/completions", {"messages": MESSAGES * 400, "truncate": "oldest", "response_format": FORMAT}),
    ("POST", "/v1/completions", {"prompt": "a", "max_tokens": 3, "logprobs": 2}),
    ("GET", "/v1/models", None),
    ("GET", "/v1/models/{model}", None),
    ("POST", "/tokenize", {"prompt": "é<|im_end|>", "with_pieces": True, "return_token_strs": True}),
    ("POST", "/detokenize", {"tokens": [1]}),
    ("POST", "/apply-template", {"messages": MESSAGES}),
]  # fmt: skip


@pytest.fixture(scope="module")
def document(server):
    return server.get("/openapi.json").json()


def test_every_route_is_described_and_nothing_else(server, document):
    routes = {route.path.replace(":path", "") for route in server.app.routes if isinstance(route, Route)}
    assert document["paths"].keys() == routes and OPERATIONS.keys() <= routes
    assert all(operation["summary"] for item in document["paths"].values() for operation in item.values())


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS, ids=str)
def test_answers_are_what_the_document_says(server, method, path, body):
    answer = server.client.request(method, path.replace("{model}", "refrain"), json=body)
    assert answer.status_code == 200
    msgspec.convert(answer.json(), OPERATIONS[path].answers)
    if (kind := OPERATIONS[path].streams) is not None:
        for event in server.stream(path, {**body, "stream_options": {"include_usage": True}}):
            msgspec.convert(event, kind)
    assert {path for _, path, _ in REQUESTS} == {path for path, each in OPERATIONS.items() if each.answers}


@pytest.mark.parametrize(("path", "params"), [
    ("/v1/chat/completions", chat_create_params.CompletionCreateParamsBase),
    ("/v1/completions", completion_create_params.CompletionCreateParamsBase),
], ids=str)  # fmt: skip
def test_every_field_of_openai_has_its_place(document, path, params):
    schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    fields = {name for kind in params.__mro__ for name in getattr(kind, "__annotations__", {})} | {"stream"}
    assert fields and fields <= schema["properties"].keys()
    assert schema["required"] == ["messages" if "chat" in path else "prompt"]


@pytest.mark.heavy
@pytest.mark.parametrize("path", OPERATIONS)
def test_whatever_is_sent_is_answered_as_the_document_says(server, document, path):
    for mode in fuzz.list_modes(document, path):
        assert fuzz.send_requests(server.url, document, path, mode, max_examples=10, number=0)
