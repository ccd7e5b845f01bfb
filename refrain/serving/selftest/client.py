"""A plain HTTP client that sees what a library hides: headers, raw lines of a stream, and a socket to hang up."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

SECONDS = 120.0  # for which an answer is waited for
LONG_TEXT = {
    "type": "object",
    "properties": {"a": {"type": "string", "minLength": 700}},
    "required": ["a"],
    "additionalProperties": False,
}
LONG_REPLY: dict[str, Any] = {  # what keeps a model from ending early
    "max_tokens": 100_000,
    "response_format": {"type": "json_schema", "json_schema": {"name": "long", "strict": True, "schema": LONG_TEXT}},
}


@dataclass(frozen=True)
class Answer:
    """A response, read whole."""

    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    def json(self) -> Any:
        """Its body; None where that is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def error(self) -> dict[str, Any]:
        """The object under `error`; empty where there is none."""
        body = self.json()
        found = body.get("error") if isinstance(body, dict) else None
        return found if isinstance(found, dict) else {}


class Stream:
    """An answer that is read as it comes; `hang_up` closes the socket under it."""

    def __init__(self, connection: HTTPConnection, response: HTTPResponse) -> None:
        self._connection, self._response = connection, response
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.lines: list[bytes] = []  # all that was read

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.hang_up()

    def events(self) -> Iterator[dict[str, Any]]:
        """The objects of its lines of data, up to [DONE] or the end."""
        while line := self._response.readline():
            self.lines.append(line)
            if line.startswith(b"data: ") and line.strip() != b"data: [DONE]":
                yield json.loads(line[6:])

    def hang_up(self) -> None:
        """Leave, whatever is still to come."""
        self._response.close()
        self._connection.close()


@dataclass
class OwnServer:
    """What all of them serve, and the processes that run."""

    model: str  # as --model names it
    folder: Path  # of its artifact: what a check copies to damage it
    processes: dict[int, subprocess.Popen[str]] = field(default_factory=dict)

    def wait_for_exit(self, process_id: int) -> int:
        """The exit status of a server that was told to end; TimeoutExpired where it does not."""
        return self.processes[process_id].wait(60)


@dataclass(frozen=True)
class Target:
    """A server under test."""

    url: str
    api_key: str | None = None
    model: str | None = None  # None for the server's default
    process_id: int | None = None  # of a server that was started for the test
    own: OwnServer | None = None  # how another one like it is started; None for somebody else's
    headers: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, None, headers)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        """POST an object as JSON, or bytes as they are."""
        return self.request("POST", path, body, headers)

    def request(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
        """One request on a connection of its own; names of headers have _ for -."""
        connection = self._connect()
        try:
            response = self._send(connection, method, path, body, headers)
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def chat(self, text: str | list[dict[str, Any]], **fields: Any) -> Answer:
        """A question, or messages, at temperature 0."""
        return self.post("/v1/chat/completions", self.chat_body(text, fields))

    def stream_chat(self, text: str | list[dict[str, Any]], **fields: Any) -> Stream:
        """As `chat`, read as it comes."""
        connection = self._connect()
        body = self.chat_body(text, {"stream": True, **fields})
        return Stream(connection, self._send(connection, "POST", "/v1/chat/completions", body, {}))

    def chat_body(self, text: str | list[dict[str, Any]], fields: dict[str, Any]) -> dict[str, Any]:
        messages = [{"role": "user", "content": text}] if isinstance(text, str) else text
        model = {} if self.model is None else {"model": self.model}
        return {**model, "messages": messages, "temperature": 0, "max_tokens": 24, **fields}

    def _connect(self) -> HTTPConnection:
        parts = urlsplit(self.url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        return kind(parts.hostname or "", parts.port, timeout=SECONDS)

    def _send(
        self, connection: HTTPConnection, method: str, path: str, body: Any, headers: dict[str, str]
    ) -> HTTPResponse:
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        key = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        prefix = urlsplit(self.url).path.rstrip("/").removesuffix("/v1")
        kind = {"Content-Type": "application/json"} if content is not None else {}
        connection.request(method, prefix + path, content, {**kind, **key, **self.headers, **named})
        return connection.getresponse()


def text_of(answer: Answer) -> str:
    """What the first choice of a chat says; ValueError where there is none."""
    try:
        return str(answer.json()["choices"][0]["message"]["content"])
    except (TypeError, KeyError, IndexError) as error:
        raise ValueError(f"{answer.status} {answer.body[:200]!r}") from error


def pieces_of(stream: Stream) -> list[str]:
    """The pieces of text of a streamed chat."""
    found = []
    for event in stream.events():
        for choice in event.get("choices", []):
            if piece := (choice.get("delta") or {}).get("content"):
                found.append(piece)
    return found
