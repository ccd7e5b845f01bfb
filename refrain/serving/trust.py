"""Who may see what others have asked and what a model learned from, and who may add to it."""

import ipaddress

from starlette.requests import Request

from refrain.serving.errors import ApiError

FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")  # a proxy on this machine speaks for somebody else


def owner_of(request: Request) -> str:
    """The name of the key that a request came with; empty where no keys are asked for."""
    return str(request.scope.get("state", {}).get("key", ""))


def require_trusted(request: Request, purpose: str) -> None:
    """ApiError 403 unless a request came with a key, or from this machine itself."""
    if not (owner_of(request) or is_local(request)):
        raise ApiError(403, "local_only", f"{purpose}: only this machine may, or who has a key; set an api_key")


def is_local(request: Request) -> bool:
    """Whether it comes from this machine, from no web page of elsewhere, and no proxy has passed it on."""
    is_from_page = request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none")
    return is_loopback(request) and not is_from_page and not any(name in request.headers for name in FORWARDED)


def is_loopback(request: Request) -> bool:
    """Whether the other end of the connection is on this machine; that of a Unix socket is."""
    if request.client is None:
        return True
    try:
        address = ipaddress.ip_address(request.client.host)
    except ValueError:  # what a proxy has written
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
