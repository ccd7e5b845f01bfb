"""The order in which a request passes what stands before the routes."""

from collections.abc import Callable

from starlette.middleware import Middleware

from refrain.serving.api_keys import ApiKeys
from refrain.serving.middleware.access_log import log_access
from refrain.serving.middleware.admission import admit_while_ready
from refrain.serving.middleware.authentication import require_key
from refrain.serving.middleware.body_limits import limit_bodies
from refrain.serving.middleware.failures import answer_failures
from refrain.serving.middleware.key_concurrency import limit_keys
from refrain.serving.middleware.origins import check_origin
from refrain.serving.middleware.request_ids import name_requests
from refrain.serving.middleware.response_headers import add_headers
from refrain.serving.process.readiness import Readiness
from refrain.serving.settings.schema import ServeSettings


def middleware_stack(
    settings: Callable[[], ServeSettings],
    keys: Callable[[], ApiKeys],
    readiness: Readiness,
    is_alive: Callable[[], bool],
) -> list[Middleware]:
    """The outermost first. Settings and keys are asked for anew at each request, for they can change."""
    return [
        Middleware(name_requests),
        Middleware(add_headers),
        Middleware(log_access, lambda: settings().log),
        Middleware(answer_failures),
        Middleware(check_origin, settings, keys),
        Middleware(require_key, settings, keys),
        Middleware(admit_while_ready, readiness, is_alive),
        Middleware(limit_keys, lambda: settings().limits),
        Middleware(limit_bodies, lambda: settings().limits),
    ]
