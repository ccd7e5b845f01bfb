"""POST /v1/refrain/reload: what the folders hold now, in place of what is open."""

import hmac
import ipaddress
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from refrain.serving.errors import ApiError

FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")  # a proxy on this machine speaks for somebody else


async def reload(request: Request) -> JSONResponse:
    """Verify, open and swap; 409 where that cannot be, and then what was open goes on."""
    server = request.app.state.server
    if not may_reload(request, server.settings.admin_key):
        raise ApiError(403, "not_allowed", "the reload: it is for this machine, or for whoever has the admin key")
    return JSONResponse({"models": [asdict(each) for each in await server.models.reload()]})


def may_reload(request: Request, admin_key: str | None) -> bool:
    """Whether it comes from this machine, and from no web page of elsewhere, or has the admin key."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if admin_key is not None and scheme.lower() == "bearer" and hmac.compare_digest(key.encode(), admin_key.encode()):
        return True
    is_from_page = request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none")
    is_forwarded = any(name in request.headers for name in FORWARDED)
    return is_loopback(request) and not is_from_page and not is_forwarded


def is_loopback(request: Request) -> bool:
    """Whether the other end of the connection is on this machine; that of a Unix socket is."""
    if request.client is None:
        return True
    try:
        address = ipaddress.ip_address(request.client.host)
    except ValueError:  # what a proxy has written
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


ROUTES = [Route("/v1/refrain/reload", reload, methods=["POST"])]
