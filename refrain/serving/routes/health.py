"""Whether the server lives, and whether it takes requests."""

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def healthz(request: Request) -> JSONResponse:
    """200 while the event loop and the engines beat."""
    is_alive = request.app.state.server.models.is_alive()
    return JSONResponse({"status": "ok" if is_alive else "failed"}, 200 if is_alive else 500)


ROUTES = [Route(path, healthz) for path in ("/healthz", "/health", "/readyz")]
