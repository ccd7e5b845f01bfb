"""Clients that are slow, silent, too many or not HTTP at all."""

from contextlib import ExitStack

import httpx
import pytest
from raw_http import GET, connect, read_all

from refrain.serving.settings import LimitSettings


@pytest.fixture(scope="module")
def impatient(serve):
    limits = LimitSettings(header_seconds=0.2, idle_seconds=0.3, stalled_seconds=0.3, connections=3)
    return serve(limits=limits)


@pytest.mark.parametrize("sent", [b"", b"GET", GET, GET + b"X: " + b"a" * 1000])
def test_a_head_that_never_ends_is_not_waited_for(impatient, sent):
    with connect(impatient) as client:
        client.sendall(sent)
        assert read_all(client) == b""


def test_a_second_head_that_never_ends_is_not_either(impatient):
    with connect(impatient) as client:
        client.sendall(GET + b"\r\n" + GET)
        assert read_all(client).startswith(b"HTTP/1.1 200")
    with connect(impatient) as client:
        client.sendall(GET + b"\r\n")
        while not (received := client.recv(65536)).endswith(b"}"):
            assert received
        client.sendall(GET)
        assert read_all(client) == b""


def test_an_idle_connection_ends(impatient):
    with connect(impatient) as client:
        client.sendall(GET + b"\r\n")
        assert read_all(client).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\x02\x00\r\n\r\n", b"hello\r\n\r\n", GET + b"X" * 70_000])
def test_what_is_no_http_gets_the_one_shape_of_errors(impatient, sent):
    with connect(impatient) as client:
        client.sendall(sent)
        answer = read_all(client)
    assert answer.startswith(b"HTTP/1.1 400") and b'"code": "invalid_http"' in answer


def test_connections_beyond_the_limit_are_told_and_probes_answered(impatient):
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connect(impatient))
        refused = httpx.get(f"{impatient.url}/v1/models")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "too_many_connections")
        assert refused.headers["retry-after"] == "1"
        assert httpx.get(f"{impatient.url}/healthz").status_code == 200
