"""Clients that are slow, silent, too many or not HTTP at all."""

import logging
import socket
import struct
import time
from contextlib import ExitStack

import httpx
import pytest
from raw_http import GET, POST, connect, read_all

from refrain.serving.settings.schema import LimitSettings


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


def leave(client):
    """End a connection without a word, as a process that is killed does."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def test_clients_that_leave_in_the_middle_leave_nothing_in_the_log(server, caplog):
    body = b'{"messages": [{"role": "user", "content": "Hi"}], "stream": true, "n": 4}'
    for number in range(20):
        client = connect(server)
        client.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body[: 9 if number % 5 == 0 else None])
        if number % 4 and number % 5:
            client.recv(300 * number)
        leave(client)
    assert server.chat().status_code == 200  # who comes after them is answered
    insides, end = server.server, time.monotonic() + 120
    while insides.readiness.num_active or insides.models.num_running() or insides.models.num_waiting():
        assert time.monotonic() < end  # all have left, and hold nothing
    assert not [record.getMessage() for record in caplog.records if record.levelno > logging.INFO]


@pytest.mark.parametrize("has_help", [True, False])
def test_a_client_that_reads_nothing_is_cut_off(impatient, has_help, monkeypatch):
    if not has_help:  # of a system that counts the seconds itself
        monkeypatch.delattr(socket, "TCP_USER_TIMEOUT", raising=False)
    with socket.socket() as client, pytest.raises((ConnectionResetError, BrokenPipeError)):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(20)
        host, port = impatient.url.removeprefix("http://").split(":")
        client.connect((host, int(port)))
        while True:
            client.sendall((GET + b"\r\n") * 1000)  # the answers to which fill every buffer
