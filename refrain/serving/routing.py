"""One route for a path, whatever its methods do."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Handler = Callable[[Request], Awaitable[Response]]


def route(path: str, **handlers: Handler) -> Route:
    """Each method of a path with what answers it; one that is not there gets 405 with the names of all."""

    async def dispatch(request: Request) -> Response:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    dispatch.__doc__ = next(iter(handlers.values())).__doc__
    dispatch.handlers = handlers  # type: ignore[attr-defined]
    return Route(path, dispatch, methods=list(handlers))
