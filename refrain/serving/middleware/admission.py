"""Whether a request is taken at all, and how many are being answered."""

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from refrain.serving.errors import SECONDS_OF_A_RESTART, ApiError
from refrain.serving.middleware.authentication import METRICS
from refrain.serving.process.readiness import PROBES, Readiness


def admit_while_ready(app: ASGIApp, readiness: Readiness, is_alive: Callable[[], bool]) -> ASGIApp:
    """503 when the server ends or a model has died; probes and metrics are answered all the same."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES | {METRICS}:
            return await app(scope, receive, send)
        if readiness.is_draining:
            raise ApiError(503, "draining", "the server: it is ending and takes no further requests; try again later",
                           retry_after=SECONDS_OF_A_RESTART)  # fmt: skip
        if not is_alive():
            raise ApiError(503, "engine_failed", "the server: its engine has failed, and its log says why; restart it",
                           retry_after=SECONDS_OF_A_RESTART)  # fmt: skip
        readiness.num_active += 1
        try:
            return await app(scope, receive, send)
        finally:
            readiness.num_active -= 1

    return call
