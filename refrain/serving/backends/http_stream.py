"""One request to another server over HTTP/1.1, and its answer as it comes; to close it tells the server to stop."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import h11

LONGEST_ANSWER = 2**24  # bytes of an answer that is read whole
CONNECT_SECONDS = 10.0
READ_BYTES = 2**16
UNREACHABLE = "upstream_unreachable"


class UpstreamError(Exception):
    """Why there is no answer, or no more of one; the code is one of those that clients are told."""

    def __init__(self, message: str, code: str = "upstream_failed") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Address:
    """Where a server listens, and how all its paths begin."""

    host: str
    port: int
    prefix: str
    is_secure: bool

    def __str__(self) -> str:
        return f"http{'s' * self.is_secure}://{self.place}{self.prefix}"

    @property
    def place(self) -> str:
        """Host and port, as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_url(url: str) -> Address:
    """The address of an OpenAI-compatible server, with its /v1 or without; ValueError where it is none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(
            f"backend_url: {url} is no address ({error}); give one like http://127.0.0.1:8080/v1"
        ) from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ValueError(f"backend_url: {url} is no address; give one like http://127.0.0.1:8080/v1")
    is_secure = parts.scheme == "https"
    prefix = parts.path.rstrip("/")
    return Address(
        parts.hostname,
        port or (443 if is_secure else 80),
        prefix if prefix.endswith("/v1") else f"{prefix}/v1",
        is_secure,
    )


class Answer:
    """The answer to a request: its status, and its content as it comes."""

    def __init__(self, reader: asyncio.StreamReader, connection: h11.Connection) -> None:
        self._reader, self._connection = reader, connection
        self.status = 0

    async def read_head(self) -> None:
        """Wait for the status."""
        while not isinstance(event := await self._next_event(), h11.Response):
            pass
        self.status = event.status_code

    async def read_json(self) -> Any:
        """The content as a whole; None where it is no JSON."""
        content = b""
        async for part in self.parts():
            content += part
            if len(content) > LONGEST_ANSWER:
                raise UpstreamError(f"it answers more than {LONGEST_ANSWER} bytes")
        try:
            return json.loads(content)
        except ValueError:
            return None

    async def lines(self) -> AsyncIterator[str]:
        """The lines of the content that are not blank."""
        pending = b""
        async for part in self.parts():
            *whole, pending = (pending + part).split(b"\n")
            for line in whole:
                if line.strip():
                    yield line.decode("utf-8", "replace").strip()
        if pending.strip():
            yield pending.decode("utf-8", "replace").strip()

    async def parts(self) -> AsyncIterator[bytes]:
        """The content in the parts that come."""
        while not isinstance(event := await self._next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                yield bytes(event.data)

    async def _next_event(self) -> Any:
        try:
            while (event := self._connection.next_event()) is h11.NEED_DATA:
                self._connection.receive_data(await self._reader.read(READ_BYTES))
        except (OSError, h11.RemoteProtocolError) as error:
            raise UpstreamError(f"the connection broke ({error})", UNREACHABLE) from error
        if isinstance(event, h11.ConnectionClosed):
            raise UpstreamError("the connection was closed before an answer came", UNREACHABLE)
        return event


@asynccontextmanager
async def ask(
    address: Address, path: str, headers: Mapping[str, str], body: dict[str, Any] | None = None
) -> AsyncIterator[Answer]:
    """The answer to a GET, or to a POST of a body; the connection is cut with the block, whatever was read."""
    context = ssl.create_default_context() if address.is_secure else None
    try:
        opening = asyncio.open_connection(address.host, address.port, ssl=context)
        reader, writer = await asyncio.wait_for(opening, CONNECT_SECONDS)
    except (OSError, TimeoutError) as error:
        reason = " ".join(str(error).split()) or "no connection in time"
        raise UpstreamError(f"it cannot be reached ({reason})", UNREACHABLE) from error
    try:
        content = b"" if body is None else json.dumps(body).encode()
        connection, method = h11.Connection(h11.CLIENT), "GET" if body is None else "POST"
        fields = {"Host": address.place, "Connection": "close", "Content-Length": str(len(content)),
                  "Content-Type": "application/json", **headers}  # fmt: skip
        request = h11.Request(method=method, target=f"{address.prefix}{path}", headers=list(fields.items()))
        for event in (request, h11.Data(data=content), h11.EndOfMessage()):
            writer.write(connection.send(event) or b"")
        answer = Answer(reader, connection)
        await answer.read_head()
        yield answer
    finally:
        writer.transport.abort()
