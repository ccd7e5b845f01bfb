"""A line in the log for each request: who asked, for what, how it ended, how long that took."""

import logging
import time
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from refrain.serving.process.logs import FIELDS
from refrain.serving.process.readiness import PROBES
from refrain.serving.settings.schema import LogSettings

log = logging.getLogger(__name__)
LONGEST_BODY = 100_000  # bytes of a request that are logged


def log_access(app: ASGIApp, settings: Callable[[], LogSettings]) -> ASGIApp:
    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES or not settings().access:
            return await app(scope, receive, send)
        begin, exchange = time.monotonic(), Exchange(receive, send, settings().prompts)
        try:
            return await app(scope, exchange.receive, exchange.send)
        finally:
            facts = exchange.describe(scope, time.monotonic() - begin)
            log.info(write_line(facts), extra={FIELDS: facts})

    return call


class Exchange:
    """What passes between a client and a route, looked at on its way."""

    def __init__(self, receive: Receive, send: Send, keeps_body: bool) -> None:
        self._receive, self._send, self.keeps_body = receive, send, keeps_body
        self.status, self.is_whole, self.body = 0, False, bytearray()

    async def receive(self) -> Message:
        message = await self._receive()
        if self.keeps_body and len(self.body) < LONGEST_BODY:
            self.body += message.get("body", b"")
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.is_whole = not message.get("more_body", False)
        await self._send(message)

    def describe(self, scope: Scope, seconds: float) -> dict[str, Any]:
        """The line as facts; a query is left out, for it may hold anything."""
        facts = {"client": (scope.get("client") or ("-",))[0], "method": scope["method"], "path": scope["path"]}
        facts |= {"status": self.status, "seconds": round(seconds, 3), "is_whole": self.is_whole}
        if key := scope.get("state", {}).get("key"):
            facts["key"] = key
        if self.keeps_body:
            facts["body"] = self.body[:LONGEST_BODY].decode(errors="replace")
        return facts


def write_line(facts: dict[str, Any]) -> str:
    """The facts as a line: 127.0.0.1 POST /v1/chat/completions 200 0.012s."""
    line = "{client} {method} {path} {status} {seconds:.3f}s".format(**facts)
    line += "" if facts["is_whole"] else ", cut off"
    line += f", key {facts['key']}" if "key" in facts else ""
    return line + (f", {facts['body']}" if facts.get("body") else "")
