"""Server-sent events, as clients of OpenAI's API read them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from starlette.responses import StreamingResponse

from refrain.serving.errors import ApiError

PING_SECONDS = 5.0  # of silence, after which a comment keeps proxies from hanging up
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx passes each event on at once


def stream_events(events: AsyncIterator[dict[str, Any]]) -> StreamingResponse:
    """Each event as a line of data, then [DONE]; an ApiError becomes a line `{"error": ...}`, without [DONE]."""
    return StreamingResponse(write_events(events), headers=HEADERS, media_type="text/event-stream; charset=utf-8")


async def write_events(events: AsyncIterator[dict[str, Any]]) -> AsyncIterator[str]:
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
            yield f"data: {json.dumps(event)}\n\n"
    except StopAsyncIteration:
        yield "data: [DONE]\n\n"
    except ApiError as error:
        yield f"data: {json.dumps(error.body())}\n\n"
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError, StopAsyncIteration, ApiError):
            await following
        await events.aclose()  # type: ignore[attr-defined]
