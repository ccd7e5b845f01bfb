"""Bodies that are too long, or come too slowly, over real sockets."""

import json

import pytest
from raw_http import POST, connect

from refrain.serving.settings.schema import LimitSettings


@pytest.fixture(scope="module")
def limited(serve):
    return serve(limits=LimitSettings(body_bytes=1000, body_seconds=0.2))


def exchange(server, *parts):
    """The status and the error that come back."""
    with connect(server) as client:
        for part in parts:
            client.sendall(part)
        answer = b""
        while not answer.endswith(b"}}"):
            answer += client.recv(65536) or pytest.fail(f"cut off after {answer!r}")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    return int(head.split()[1]), json.loads(body)["error"]["code"]


def test_a_body_that_says_it_is_too_long_is_not_read(limited):
    assert exchange(limited, POST + b"Content-Length: 1001\r\n\r\n", b"x" * 1001) == (413, "body_too_large")
    assert exchange(limited, POST + b"Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n") == (
        413,
        "body_too_large",
    )


def test_a_body_that_turns_out_too_long_is_cut(limited):
    chunk = b"%x\r\n%b\r\n" % (600, b" " * 600)
    head = POST + b"Transfer-Encoding: chunked\r\n\r\n"
    assert exchange(limited, head, chunk, chunk, b"0\r\n\r\n") == (413, "body_too_large")


def test_a_body_that_dribbles_is_not_waited_for(limited):
    assert exchange(limited, POST + b"Content-Length: 500\r\n\r\n", b"{") == (408, "body_timeout")


def test_a_body_of_just_the_limit_is_read(limited):
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    text = json.dumps(body).ljust(1000).encode()
    assert limited.client.post("/v1/chat/completions", content=text).status_code == 200
