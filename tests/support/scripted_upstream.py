"""A server that answers what a test has written down, byte for byte, and keeps what it was asked."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

MODELS = {"data": [{"id": "m", "max_model_len": 200}]}


def plain(content, status="200 OK"):
    """An answer of JSON, as bytes."""
    body = json.dumps(content).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def events(*lines, ending="0\r\n\r\n"):
    """A stream in chunks, as bytes; a line that is an object becomes an event."""
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    texts = [line if isinstance(line, str) else f"data: {json.dumps(line)}" for line in lines]
    chunks = [f"{text}\n\n".encode() for text in texts]
    return head.encode() + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + ending.encode()


class ScriptedUpstream:
    """Answers `GET /v1/models` and, in their order, whatever else it is asked."""

    def __init__(self):
        self.answers, self.asked, self.models = [], [], plain(MODELS)
        self.holds_on, self.was_left = False, threading.Event()  # whether it waits for clients to leave; one has left
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _run(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, suppress(ConnectionError):
                if (asked := read_request(connection)) is not None:
                    self.asked.append(asked)
                    connection.sendall(self.models if asked[0].startswith("GET") else self.answers.pop(0))
                if self.holds_on and connection.recv(1) == b"":
                    self.was_left.set()


def read_request(connection):
    """The head and the JSON of a request; None where the client has left."""
    data, length = b"", None
    while length is None or len(data) < length:
        if not (part := connection.recv(65536)):
            return None
        data += part
        if length is None and b"\r\n\r\n" in data:
            head, _, data = data.partition(b"\r\n\r\n")
            length = int(re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)[1])
    return head.decode(), json.loads(data or "null")


@contextmanager
def run() -> Iterator[ScriptedUpstream]:
    upstream = ScriptedUpstream()
    try:
        yield upstream
    finally:
        upstream.close()
