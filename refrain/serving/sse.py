"""Server-sent events, as clients of OpenAI's API read them."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import msgspec
from starlette.responses import StreamingResponse
from starlette.types import Send

from refrain.serving.errors import ApiError

log = logging.getLogger(__name__)
PING_SECONDS = 5.0  # of silence, after which a comment keeps proxies from hanging up
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx passes each event on at once
Events = AsyncIterator[dict[str, Any]]


class EventStream(StreamingResponse):
    """A stream that is closed as whole only where it is: after an error the connection ends in the middle."""

    def __init__(
        self, events: Events, end: Callable[[], object], headers: Mapping[str, str], has_names: bool = False
    ) -> None:
        self._is_whole, self._end, self._last_sent = True, end, 0.0
        super().__init__(
            write_lines(events, self._break_off, has_names), headers={**HEADERS, **headers},
            media_type="text/event-stream; charset=utf-8",
        )  # fmt: skip

    async def stream_response(self, send: Send) -> None:
        pinging = asyncio.create_task(self._ping(send))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for line in self.body_iterator:
                self._last_sent = time.monotonic()
                await send({"type": "http.response.body", "body": line, "more_body": True})
            if self._is_whole:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            pinging.cancel()
            self._end()
            await self.body_iterator.aclose()  # type: ignore[attr-defined]

    async def _ping(self, send: Send) -> None:
        """A comment whenever nothing has been sent for a while."""
        self._last_sent = time.monotonic()
        while True:
            await asyncio.sleep(self._last_sent + PING_SECONDS - time.monotonic())
            if time.monotonic() - self._last_sent >= PING_SECONDS:
                self._last_sent = time.monotonic()
                await send({"type": "http.response.body", "body": b": ping\n\n", "more_body": True})

    def _break_off(self) -> None:
        self._is_whole = False


async def write_lines(events: Events, break_off: Callable[[], object], has_names: bool) -> AsyncIterator[bytes]:
    """The lines of a stream; `break_off` is called before the last one where that tells of a failure."""
    try:
        async for event in events:
            name = b"event: %s\n" % event["type"].encode() if has_names else b""
            yield name + write_line(event)
        if not has_names:
            yield b"data: [DONE]\n\n"
    except Exception as error:
        break_off()
        yield write_line(explain_failure(error).body())
    finally:
        await events.aclose()  # type: ignore[attr-defined]


def write_line(event: dict[str, Any]) -> bytes:
    """An event as JSON in ASCII: some clients take U+2028 and U+0085 for the end of a line."""
    with suppress(UnicodeEncodeError):  # half of a surrogate pair, which JSON can tell
        if (content := msgspec.json.encode(event)).isascii():
            return b"data: %s\n\n" % content
    return b"data: %s\n\n" % json.dumps(event, separators=(",", ":")).encode()


def stream_events(
    events: Events, end: Callable[[], object] = lambda: None, headers: Mapping[str, str] = MappingProxyType({})
) -> EventStream:
    """Each event as a line of data, then [DONE]; a failure becomes a line `{"error": ...}`, and nothing follows it.

    `end` is called when nothing more is sent, whatever the reason.
    """
    return EventStream(events, end, headers)


def stream_named_events(events: Events, end: Callable[[], object], headers: Mapping[str, str]) -> EventStream:
    """As `stream_events`, each event behind its type as a name; the last one says that it is, in place of [DONE]."""
    return EventStream(events, end, headers, has_names=True)


def explain_failure(error: Exception) -> ApiError:
    """What a client is told of a stream that broke."""
    if isinstance(error, ApiError):
        log.warning("a stream ends with an error: %s", error.message)
        return error
    log.error("a stream has failed", exc_info=error)
    return ApiError(500, "internal_error", "the server: it has failed in the midst of a reply; its log says more")
