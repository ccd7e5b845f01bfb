"""Server-sent events, as clients of OpenAI's API read them."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

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
        self._is_whole, self._end, self._has_names = True, end, has_names
        super().__init__(
            self.write_events(events), headers={**HEADERS, **headers}, media_type="text/event-stream; charset=utf-8"
        )

    async def stream_response(self, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for line in self.body_iterator:
                await send({"type": "http.response.body", "body": str(line).encode(), "more_body": True})
            if self._is_whole:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._end()

    async def write_events(self, events: Events) -> AsyncIterator[str]:
        """The lines of a stream, with a comment whenever nothing has come for a while."""
        following = asyncio.ensure_future(anext(events))
        try:
            while True:
                done, _ = await asyncio.wait({following}, timeout=PING_SECONDS)
                if not done:
                    yield ": ping\n\n"
                    continue
                event = following.result()
                following = asyncio.ensure_future(anext(events))
                name = f"event: {event['type']}\n" if self._has_names else ""
                yield f"{name}data: {json.dumps(event)}\n\n"
        except StopAsyncIteration:
            if not self._has_names:
                yield "data: [DONE]\n\n"
        except Exception as error:
            self._is_whole = False
            yield f"data: {json.dumps(explain_failure(error).body())}\n\n"
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration, Exception):
                await following
            await events.aclose()  # type: ignore[attr-defined]


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
