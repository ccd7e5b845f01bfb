"""Whether the server lives, and whether it takes requests."""

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def healthz(request: Request) -> JSONResponse:
    """200 while the event loop and the engines beat."""
    is_alive = request.app.state.server.models.is_alive()
    return JSONResponse({"status": "ok" if is_alive else "failed"}, 200 if is_alive else 500)


async def readyz(request: Request) -> JSONResponse:
    """200 after a first token and until the server is asked to end, busy or not."""
    server = request.app.state.server
    status = server.readiness.status() if server.models.is_alive() else "failed"
    return JSONResponse({"status": status}, 200 if status == "ready" else 503)


ROUTES = [Route("/healthz", healthz), Route("/health", healthz), Route("/readyz", readyz)]
