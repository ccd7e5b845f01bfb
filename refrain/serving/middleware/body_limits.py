"""How long the body of a request may be, and how long it may take to come."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from refrain.serving.errors import ApiError
from refrain.serving.middleware.failures import send_error
from refrain.serving.settings.schema import LimitSettings

LINGER_SECONDS = 2.0  # in which a refused body is read and forgotten, for else its sender may not see why


def limit_bodies(app: ASGIApp, limits: Callable[[], LimitSettings]) -> ASGIApp:
    """413 for a body that is too long, declared or streamed; 408 for one that is not whole in time."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        body = LimitedBody(receive, send, limits())
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdigit() and int(length) > limits().body_bytes:
            return await send_error(body.refuse_length(), body.send)
        return await app(scope, body.receive, body.send)

    return call


class LimitedBody:
    """A body on its way to a route; where it is refused, the connection ends with the answer."""

    def __init__(self, receive: Receive, send: Send, limits: LimitSettings) -> None:
        self._receive, self._send, self._limits = receive, send, limits
        self._deadline = asyncio.get_running_loop().time() + limits.body_seconds
        self._num_bytes, self._is_whole, self._is_refused = 0, False, False

    async def receive(self) -> Message:
        if self._is_whole:
            return await self._receive()  # the client leaves, some time
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            self._is_refused = True
            seconds = self._limits.body_seconds
            raise ApiError(
                408, "body_timeout", f"the body: it was not whole after {seconds:g} s; send it faster"
            ) from None
        self._num_bytes += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        if self._num_bytes > self._limits.body_bytes:
            raise self.refuse_length()
        return message

    async def send(self, message: Message) -> None:
        if not self._is_refused:
            return await self._send(message)
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["Connection"] = "close"
        elif not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._read_rest()
            message = {"type": "http.response.body"}
        return await self._send(message)

    def refuse_length(self) -> ApiError:
        """What is said of a body that is too long; nothing of it is read any more."""
        self._is_refused = True
        most = self._limits.body_bytes
        return ApiError(
            413, "body_too_large", f"the body: it is longer than {most:,} bytes; send less, or raise limits.body_bytes"
        )

    async def _read_rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while not self._is_whole:
                    self._is_whole = not (await self._receive()).get("more_body", False)
