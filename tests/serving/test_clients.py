"""Clients as they are installed, and the requests of others as their sources write them."""

from typing import Literal

import httpx
import llm
import openai
import pytest
from langchain_openai import ChatOpenAI
from openai import OpenAI
from pydantic import BaseModel

MESSAGES = [{"role": "user", "content": "Hello"}]
ASK = [("system", "Be brief."), ("human", "Hello")]


class City(BaseModel):
    city: Literal["Oslo"]


@pytest.fixture
def sent_requests():
    """The requests that a client has sent."""
    return []


@pytest.fixture
def client(server, sent_requests):
    with httpx.Client(event_hooks={"request": [sent_requests.append]}) as http:
        yield OpenAI(base_url=f"{server.url}/v1", api_key="none", http_client=http)


def test_openais_client_chats(client):
    asked = {"model": "refrain", "messages": MESSAGES, "max_tokens": 8, "seed": 3, "logprobs": True, "top_logprobs": 2}
    whole = client.chat.completions.create(**asked)
    assert whole.usage.completion_tokens <= 8 and whole.refrain["seed"] == 3
    assert len(whole.choices[0].logprobs.content[0].top_logprobs) == 2
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    joined = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert joined == whole.choices[0].message.content and chunks[-1].usage == whole.usage
    assert next(iter(client.models.list())).id == client.models.retrieve("refrain").id == "refrain"


def test_openais_client_completes_texts(client):
    whole = client.completions.create(model="refrain", prompt=["a", "b"], max_tokens=4, seed=3, logprobs=1)
    assert len(whole.choices) == 2 and len(whole.choices[0].logprobs.tokens) <= 4
    stream = client.completions.create(model="refrain", prompt="a", max_tokens=4, seed=3, stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == whole.choices[0].text


def test_openais_client_reads_an_answer_as_an_object(client):
    asked = {"model": "refrain", "messages": MESSAGES, "max_tokens": 200, "seed": 0}
    parsed = client.chat.completions.parse(**asked, response_format=City)
    assert parsed.choices[0].message.parsed.city == "Oslo"


@pytest.mark.parametrize(("fields", "kind"), [
    ({"model": "gpt-4o"}, openai.NotFoundError), ({"temperature": -1}, openai.BadRequestError),
    ({"messages": MESSAGES * 1000}, openai.BadRequestError), ({"stream": True, "top_p": 2}, openai.BadRequestError),
    ({"extra_body": {"tempratur": 1}}, openai.BadRequestError),
], ids=str)  # fmt: skip
def test_openais_client_is_told_why_and_tries_nothing_again(client, sent_requests, fields, kind):
    with pytest.raises(kind) as caught:
        client.chat.completions.create(**{"model": "refrain", "messages": MESSAGES, **fields})
    assert caught.value.code and caught.value.body["message"] in str(caught.value) and len(sent_requests) == 1
    if "messages" in fields:
        assert caught.value.code == "context_length_exceeded"


def test_langchain_chats_streams_and_structures(server):
    model = ChatOpenAI(
        base_url=f"{server.url}/v1", api_key="none", model="refrain", seed=3, max_tokens=60, max_retries=0
    )
    whole = model.invoke(ASK)
    assert whole.response_metadata["system_fingerprint"] and whole.usage_metadata["output_tokens"] <= 60
    assert "".join(chunk.content for chunk in model.stream(ASK)) == whole.content
    assert model.with_structured_output(City, method="json_schema").invoke(ASK) == City(city="Oslo")


def test_llm_speaks_with_it_as_its_documentation_says(server, tmp_path, monkeypatch):
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    common = f"model_name: refrain, api_base: {server.url}/v1, api_key_name: none"
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- {{model_id: tiny, {common}}}\n- {{model_id: text, completion: true, {common}}}\n"
    )
    for name in ("tiny", "text"):
        model = llm.get_model(name)
        model.key = "none"
        whole = model.prompt("Hello", stream=False, max_tokens=8, seed=3, temperature=0.5).text()
        assert "".join(model.prompt("Hello", stream=True, max_tokens=8, seed=3, temperature=0.5)) == whole


OPEN_WEBUI = [  # messages beside what backend/open_webui/utils/payload.py maps, for chats and for titles
    {"stream": True, "messages": MESSAGES, "stream_options": {"include_usage": True}},
    {"stream": True, "messages": MESSAGES, "temperature": 0.8, "top_p": 0.9, "min_p": 0.1, "max_tokens": 9, "seed": 0,
     "stop": ["\n\n"], "frequency_penalty": 1.1, "presence_penalty": 0, "logit_bias": {"5": -100},
     "response_format": {"type": "text"}},
    {"messages": MESSAGES, "stream": False, "max_completion_tokens": 9, "metadata": {"task": "title"}},
    {"stream": True, "messages": [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
        {"role": "assistant", "content": ""}, {"role": "user", "content": "Again"}]},
]  # fmt: skip
LITELLM = [  # model and messages beside what it was given, as litellm/llms/openai/chat/gpt_transformation.py does
    {"messages": MESSAGES, "user": "u", "max_tokens": 5, "stream_options": {"include_usage": True}, "stream": True},
    {"messages": MESSAGES, "n": 2, "stop": ["a"], "top_k": 5, "min_p": 0.1, "max_tokens": 5, "repetition_penalty": 1.1,
     "metadata": {}, "parallel_tool_calls": None, "tools": None, "tool_choice": None},
    {"messages": [{"role": "developer", "content": "Be brief."}, *MESSAGES], "max_completion_tokens": 5},
]  # fmt: skip


@pytest.mark.parametrize("body", [*OPEN_WEBUI, *LITELLM], ids=lambda body: "-".join(body)[:60])
def test_the_requests_of_other_programs_are_answered(server, body):
    fields = {"model": "refrain", **({} if "max_completion_tokens" in body else {"max_tokens": 5}), **body}
    if body.get("stream"):
        events = server.stream("/v1/chat/completions", fields)
        assert any(event["choices"] and event["choices"][0]["finish_reason"] for event in events)
        assert ("usage" in events[-1]) == ("stream_options" in body)
    else:
        assert server.post("/v1/chat/completions", fields).json()["choices"][0]["finish_reason"]
