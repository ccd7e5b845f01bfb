"""GET /v1/models: each variant is a model."""

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def list_models(request: Request) -> JSONResponse:
    names = request.app.state.server.models.names()
    data = [{"id": name, "object": "model", "created": 0, "owned_by": "refrain"} for name in names]
    return JSONResponse({"object": "list", "data": data})


ROUTES = [Route("/v1/models", list_models)]
