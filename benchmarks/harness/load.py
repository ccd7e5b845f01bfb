"""Clients that ask one server at once, each its next question when it has its answer, and when each token came.

HTTP is read by hand: the clients share the machine's cores with the server, and a library would take more of them.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from refrain.chat.records import Message

Messages = Sequence[Message]


@dataclass
class TimedReply:
    """When a question was sent, and when each piece of its answer came."""

    sent: float
    times: list[float] = field(default_factory=list)
    tokens: int = 0

    @property
    def first_token(self) -> float:
        return self.times[0] - self.sent

    @property
    def gaps(self) -> list[float]:
        return np.diff(self.times).tolist()


@dataclass(frozen=True)
class Load:
    """What a server did under so many clients."""

    replies: list[TimedReply]
    seconds: float

    def speed(self) -> float:
        """Tokens a second, all clients together."""
        return sum(reply.tokens for reply in self.replies) / self.seconds

    def first_token(self, percent: float) -> float:
        """Seconds to the first token of all but the slowest replies."""
        return float(np.percentile([reply.first_token for reply in self.replies], percent))

    def gap(self, percent: float) -> float:
        """Seconds between two pieces of a reply, in all but the slowest cases."""
        return float(np.percentile([gap for reply in self.replies for gap in reply.gaps], percent))


Ask = Callable[[Messages, int], Awaitable[TimedReply]]


async def run_load(asks: Sequence[Ask], questions: Sequence[Sequence[Messages]], new: int) -> Load:
    """Each client asks its questions, one after the other, for answers of `new` tokens."""

    async def run_client(ask: Ask, own: Sequence[Messages]) -> list[TimedReply]:
        return [await ask(messages, new) for messages in own]

    begin = time.perf_counter()
    replies = await asyncio.gather(*(run_client(*pair) for pair in zip(asks, questions, strict=True)))
    return Load([reply for own in replies for reply in own], time.perf_counter() - begin)


class HttpClient:
    """One connection to an OpenAI-compatible server, kept open as its clients do."""

    def __init__(self, url: str, temperature: float) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._host, self._port, self._temperature = host, int(port), temperature
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, messages: Messages, new: int) -> TimedReply:
        """A reply of so many tokens; RuntimeError with what the server said where it is something else."""
        settings = {"max_tokens": new, "temperature": self._temperature, "stream": True}
        body = json.dumps({"messages": messages, "stream_options": {"include_usage": True}, **settings}).encode()
        request = (b"POST /v1/chat/completions HTTP/1.1\r\nHost: %s:%d\r\nContent-Type: application/json\r\n"
                   b"Content-Length: %d\r\n\r\n%s" % (self._host.encode(), self._port, len(body), body))  # fmt: skip
        reply = TimedReply(time.perf_counter())
        reader, head = await self._send(request)
        if b" 200 " not in head.splitlines()[0]:
            raise RuntimeError(f"{head.decode()}{(await reader.read(1000)).decode()}")
        chunks = [(time.perf_counter(), chunk) async for chunk in read_chunks(reader)]
        read_events(reply, chunks)
        return reply

    async def _send(self, request: bytes) -> tuple[asyncio.StreamReader, bytes]:
        """Over the open connection, or a new one where the server has closed it; the head of what comes back."""
        if self._streams is not None:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                return await self._send_over(*self._streams, request)
            self.close()
        self._streams = await asyncio.open_connection(self._host, self._port)
        return await self._send_over(*self._streams, request)

    async def _send_over(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
    ) -> tuple[asyncio.StreamReader, bytes]:
        writer.write(request)
        return reader, await reader.readuntil(b"\r\n\r\n")

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


async def read_chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The chunks of a body as they come."""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\r\n")


def read_events(reply: TimedReply, chunks: list[tuple[float, bytes]]) -> None:
    """Take from a stream when its text came and how many tokens it was; what is no piece of an answer is an error."""
    for moment, chunk in chunks:
        for line in chunk.split(b"\n"):
            if not line.startswith(b"data: ") or line == b"data: [DONE]":
                continue
            event = json.loads(line[6:])
            if "error" in event:
                raise RuntimeError(event["error"]["message"])
            if any(choice["delta"].get("content") for choice in event["choices"]):
                reply.times.append(moment)
            if event.get("usage"):
                reply.tokens = event["usage"]["completion_tokens"]
    if not reply.tokens:
        raise RuntimeError("the stream has no usage, so nobody knows how many tokens it was")
