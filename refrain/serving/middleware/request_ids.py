"""A name for each request: the client's, or a new one; it stands in the answer and in the log."""

import re
import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from refrain.serving.process.logs import REQUEST_ID

HEADER = "X-Request-Id"
ALLOWED = re.compile(r"[\w.:+/=-]{1,128}", re.ASCII)


def name_requests(app: ASGIApp) -> ASGIApp:
    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        given = Headers(scope=scope).get(HEADER, "")
        name = given if ALLOWED.fullmatch(given) else secrets.token_hex(16)
        scope.setdefault("state", {})["request_id"] = name
        REQUEST_ID.set(name)  # of this task, which is the request's own

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = name
            await send(message)

        return await app(scope, receive, send_named)

    return call
