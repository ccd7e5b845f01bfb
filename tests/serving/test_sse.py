"""Streams that end well, and streams that break, by a real client and by what is on the wire."""

import asyncio
import json
import socket
import threading

import openai
import pytest
import served_model
from openai import OpenAI
from starlette.routing import Route

from refrain.serving import sse
from refrain.serving.errors import ApiError
from refrain.serving.server import create_app
from refrain.serving.settings.schema import ServeSettings

CHUNK = {"id": "a", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [
    {"index": 0, "delta": {"content": "a\u2028\x85"}, "finish_reason": None},
]}  # fmt: skip
ends, silence = [], threading.Event()


async def write_chunks(kind):
    yield CHUNK
    if kind == "refused":
        raise ApiError(503, "engine_failed", "the engine has failed", retry_after=5)
    if kind == "broken":
        raise ZeroDivisionError("secret")
    if kind == "silent":
        await asyncio.to_thread(silence.wait, 30)
    yield CHUNK


async def stream(request):
    kind = request.path_params["kind"]
    return sse.stream_events(write_chunks(kind), lambda: ends.append(kind), {"X-Mine": "1"})


@pytest.fixture(scope="module")
def streaming(served_folder):
    """The server as it is, with a route of its own kind of streams."""
    app = create_app(ServeSettings(model=str(served_folder), threads=1))
    app.router.routes.append(Route("/{kind}/chat/completions", stream, methods=["POST"]))
    with served_model.run_app(app) as running:
        yield running


def read(running, kind, is_enough=lambda content: False):
    """What comes over the wire until the server closes, or it is enough."""
    host, port = running.url.removeprefix("http://").split(":")
    content = b""
    with socket.create_connection((host, int(port)), timeout=120) as client:
        client.sendall(f"POST /{kind}/chat/completions HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
                       "Content-Length: 0\r\n\r\n".encode())  # fmt: skip
        while not is_enough(content) and (part := client.recv(65536)):
            content += part
    return content


def test_a_whole_stream_is_closed_as_such(streaming):
    content = read(streaming, "whole")
    assert content.count(b'"a\\u2028\\u0085"') == 2 and content.endswith(b"0\r\n\r\n") and content.isascii()
    assert b"data: [DONE]\n\n" in content and b"x-mine: 1" in content and ends[-1] == "whole"


@pytest.mark.parametrize("text", ["\u2029 \x0b \x0c \x1c", "\r\n\n", "🎉 ß", "half of one: \ud83d", '"\\/\x00\x7f'])
def test_whatever_a_text_holds_an_event_is_one_line_of_ascii(text):
    line = sse.write_line({"content": text})
    assert line.isascii() and line.decode("latin-1").splitlines() == [line.decode()[:-2], ""]
    assert json.loads(line.removeprefix(b"data: ")) == {"content": text}


@pytest.mark.parametrize(("kind", "code"), [("refused", b"engine_failed"), ("broken", b"internal_error")])
def test_a_broken_stream_says_so_and_is_not_closed_as_whole(streaming, kind, code):
    content = read(streaming, kind)
    assert b'data: {"error":{"message":' in content and code in content and b"event:" not in content
    assert b"[DONE]" not in content and not content.endswith(b"0\r\n\r\n") and b"secret" not in content
    assert ends[-1] == kind


@pytest.mark.parametrize("kind", ["refused", "broken"])
def test_openais_client_raises_what_a_broken_stream_says(streaming, kind):
    client = OpenAI(base_url=f"{streaming.url}/{kind}", api_key="none", max_retries=0)
    chunks = client.chat.completions.create(model="m", messages=[], stream=True)
    assert next(chunks).choices[0].delta.content == "a\u2028\x85"
    with pytest.raises(openai.APIError, match="has failed"):
        next(chunks)


def test_a_silent_stream_pings(streaming, monkeypatch):
    monkeypatch.setattr(sse, "PING_SECONDS", 0.01)
    try:
        content = read(streaming, "silent", lambda content: content.count(b": ping\n\n") > 2)
        assert content.count(b"data: ") == 1
    finally:
        silence.set()
