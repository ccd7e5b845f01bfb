"""Clients that leave, by real sockets: their slots are free at once, wherever they were."""

import json
import socket
import time
from contextlib import contextmanager

import pytest

ENDLESS = {"logit_bias": {"258": -100}, "max_tokens": 1100, "n": 60}  # one after the other: longer than anybody waits
PATHS = {"/v1/chat/completions": {"messages": [{"role": "user", "content": "x"}]}, "/v1/completions": {"prompt": "x"}}
BUSY = 10  # seconds after which what never happens is given up


@contextmanager
def connection(running, path, body):
    """A socket that has sent a request, until the block ends and it is closed."""
    content = json.dumps(ENDLESS | body).encode()
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(content)}\r\n\r\n"
        client.sendall(head.encode() + content)
        yield client


def wait_for(is_so):
    end = time.monotonic() + BUSY
    while not is_so():
        assert time.monotonic() < end


@pytest.fixture(scope="module")
def small(serve):
    return serve(max_num_seqs=1)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_who_leaves_a_reply_frees_its_slot(small, path, stream):
    backend = small.server.models.default.backend
    with connection(small, path, PATHS[path] | {"stream": stream}):
        wait_for(lambda: backend.num_running() == 1)
    wait_for(lambda: backend.num_running() + backend.num_waiting() == 0)
    assert small.chat().status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_the_queue_never_begins_and_ends_nobody_else(small, stream):
    backend, body = small.server.models.default.backend, PATHS["/v1/chat/completions"]
    with connection(small, "/v1/chat/completions", body | {"stream": True}) as first:
        wait_for(lambda: backend.num_running() == 1)
        with connection(small, "/v1/chat/completions", body | {"stream": stream, "n": 3}):
            wait_for(lambda: backend.num_waiting() == 62)
        wait_for(lambda: backend.num_waiting() == 59)
        assert backend.num_running() == 1 and first.recv(100_000)
    wait_for(lambda: backend.num_running() + backend.num_waiting() == 0)


def test_who_leaves_while_its_prompt_is_read_frees_its_slot(small):
    backend, body = small.server.models.default.backend, {"prompt": "x" * 1190}
    with connection(small, "/v1/completions", body):
        wait_for(lambda: backend.num_running() == 1)
    wait_for(lambda: backend.num_running() + backend.num_waiting() == 0)
    assert small.chat().status_code == 200
