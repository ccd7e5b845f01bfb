"""GET /openapi.json: the API for machines."""

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from refrain import __version__
from refrain.serving.api import openapi


async def describe(request: Request) -> JSONResponse:
    """This document."""
    return JSONResponse(openapi.describe_api(request.app.routes, __version__))


ROUTES = [Route("/openapi.json", describe)]
