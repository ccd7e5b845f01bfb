"""One client's connection: who is slow, idle or gone does not hold it for long."""

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from refrain.serving.errors import ApiError
from refrain.serving.middleware import failures
from refrain.serving.process.readiness import PROBES
from refrain.serving.settings.schema import LimitSettings

NEVER_MORE = 2  # times the connections that are allowed: so many are told that there are too many


class Connection(H11Protocol):
    """uvicorn's protocol on h11, with deadlines for heads of requests and for clients that do not read."""

    def __init__(self, limits: Callable[[], LimitSettings], **arguments: Any) -> None:
        super().__init__(**arguments)
        self._limits = limits()
        self.timeout_keep_alive = self._limits.idle_seconds  # type: ignore[assignment] # a timer takes fractions
        self._deadline: asyncio.TimerHandle | None = None  # of the head of a request
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > NEVER_MORE * self._limits.connections:
            return transport.abort()
        if len(self.connections) > self._limits.connections:
            self.app = self._refuse
        self._deadline = self.loop.call_later(self._limits.header_seconds, transport.abort)
        keep_probing(transport.get_extra_info("socket"), self._limits.stalled_seconds)
        return None

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            cancel(self._deadline)
            self._deadline = None
        elif self._is_between_requests() and self._deadline is None:
            self._deadline = self.loop.call_later(self._limits.header_seconds, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        cancel(self._deadline)
        cancel(self._stalled)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self._limits.stalled_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        cancel(self._stalled)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP gets the one shape of errors too."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return self.transport.abort()
        body = json.dumps(ApiError(400, "invalid_http", f"the request: {msg.rstrip('.').lower()}").body()).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Connection", "close")]
        for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        return self.transport.close()

    def _is_between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Probes are answered; others hear that there are too many connections, and theirs ends."""
        if scope.get("path") in PROBES:
            await self.config.loaded_app(scope, receive, send)
            return
        error = ApiError(
            503, "too_many_connections", "the server: too many connections; try again later", retry_after=1
        )
        await failures.send_error(error, send, is_last=True)


def cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def keep_probing(opened: socket.socket | None, seconds: float) -> None:
    """Let the system find out that the other side is gone without a word: after that time, not after hours."""
    if opened is None or opened.family == socket.AF_UNIX:
        return
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, min(int(seconds * 1000), 2**31 - 1))
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, min(int(seconds), 32767)))
