"""Who may ask: those with a key, where there are keys."""

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from refrain.serving.api_keys import ApiKeys
from refrain.serving.errors import ApiError
from refrain.serving.process.readiness import PROBES
from refrain.serving.settings.schema import ServeSettings

METRICS = "/metrics"
PAGE = ("/", "/page/")  # static and without secrets: it asks a person for the key


def require_key(app: ASGIApp, settings: Callable[[], ServeSettings], keys: Callable[[], ApiKeys]) -> ASGIApp:
    """401 without `Authorization: Bearer KEY`; the name of the key goes on to what counts and logs."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not keys() or is_open(scope, settings()):
            return await app(scope, receive, send)
        scheme, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
        name = keys().find(key.strip().encode("latin-1"))
        if scheme.lower() != "bearer" or name is None:
            raise ApiError(401, "invalid_api_key", "Authorization: it must be `Bearer KEY`, with a key of this server")
        scope.setdefault("state", {})["key"] = name
        return await app(scope, receive, send)

    return call


def is_open(scope: Scope, settings: ServeSettings) -> bool:
    """Probes, the page itself, and metrics where that is set."""
    path = scope["path"]
    is_page = scope["method"] in ("GET", "HEAD") and (path == PAGE[0] or path.startswith(PAGE[1]))
    return path in PROBES or is_page or (path == METRICS and settings.metrics_open)
