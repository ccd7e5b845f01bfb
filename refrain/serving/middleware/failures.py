"""Refusals and faults as answers of one shape."""

import json
import logging

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from refrain.serving.errors import ApiError

log = logging.getLogger(__name__)
FAULT = "the server: a fault of its own, which its log explains; X-Request-Id finds it there"


def answer_failures(app: ASGIApp) -> ASGIApp:
    """An ApiError becomes what it says, any other error a 500; a reply that has begun is cut off instead."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def send_noticed(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await app(scope, receive, send_noticed)
        except ApiError as error:
            if has_begun:
                raise
            await send_error(error, send)
        except ClientDisconnect:
            return  # within its own body: nobody is there to be answered
        except Exception:
            if has_begun or scope["type"] != "http":
                raise
            log.exception("%s %s has failed", scope["method"], scope["path"])
            await send_error(ApiError(500, "internal_error", FAULT), send)

    return call


async def send_error(error: ApiError, send: Send, is_last: bool = False) -> None:
    """Answer with an error; after the last answer of a connection that ends."""
    body = json.dumps(error.body()).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body))} | error.headers()
    if is_last:
        headers["Connection"] = "close"
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
