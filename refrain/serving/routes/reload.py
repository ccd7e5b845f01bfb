"""POST /v1/refrain/reload: what the folders hold now, in place of what is open."""

from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from refrain.serving.api_keys import ApiKeys, digest_key
from refrain.serving.errors import ApiError
from refrain.serving.trust import is_local


async def reload(request: Request) -> JSONResponse:
    """Verify, open and swap; 409 where that cannot be, and then what was open goes on."""
    server = request.app.state.server
    if not may_reload(request, server.settings.admin_key):
        raise ApiError(403, "not_allowed", "the reload: it is for this machine, or for whoever has the admin key")
    return JSONResponse({"models": [asdict(each) for each in await server.models.reload()]})


def may_reload(request: Request, admin_key: str | None) -> bool:
    """Whether it comes from this machine itself, or has the admin key."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if admin_key is not None and scheme.lower() == "bearer":
        admin_keys = ApiKeys({digest_key(admin_key, "admin_key"): "admin_key"})
        if admin_keys.find(key.strip().encode("latin-1")) is not None:
            return True
    return is_local(request)


ROUTES = [Route("/v1/refrain/reload", reload, methods=["POST"])]
