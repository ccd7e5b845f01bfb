"""How much one key may ask for at once."""

from collections import Counter
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from refrain.serving.errors import ApiError
from refrain.serving.settings.schema import LimitSettings

SECONDS_TO_WAIT = 1.0


def limit_keys(app: ASGIApp, limits: Callable[[], LimitSettings]) -> ASGIApp:
    """429 where a key has as many requests running as it may have; reading is not counted."""
    running: Counter[str] = Counter()

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        key, most = scope.get("state", {}).get("key"), limits().requests_per_key
        if key is None or most is None or scope["method"] != "POST":
            return await app(scope, receive, send)
        if running[key] >= most:
            raise ApiError(429, "key_busy", f"this key: {running[key]} of its requests are running, and more are not "
                           "allowed at once; wait for one to end", retry_after=SECONDS_TO_WAIT)  # fmt: skip
        running[key] += 1
        try:
            return await app(scope, receive, send)
        finally:
            running[key] -= 1
            if not running[key]:
                del running[key]

    return call
