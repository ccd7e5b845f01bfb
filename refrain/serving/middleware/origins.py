"""Which names the server answers to, and which web pages may call it."""

import ipaddress
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from refrain.serving.api_keys import ApiKeys
from refrain.serving.errors import ApiError
from refrain.serving.process.readiness import PROBES
from refrain.serving.settings.schema import ServeSettings

READING = {"GET", "HEAD", "OPTIONS"}
EXPOSED = "X-Request-Id, Retry-After, X-Refrain-Ignored"
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, X-Request-Id",
    "Access-Control-Max-Age": "600",
}


def check_origin(app: ASGIApp, settings: Callable[[], ServeSettings], keys: Callable[[], ApiKeys]) -> ASGIApp:
    """403 for a foreign Host (DNS rebinding), and for what a page elsewhere would change; CORS for listed ones."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            return await app(scope, receive, send)
        headers, now = Headers(scope=scope), settings()
        host, origin = headers.get("host", ""), headers.get("origin")
        if not is_own_host(host, now, bool(keys())):
            raise ApiError(
                403, "bad_host", f"Host: {host[:100]!r} is no name of this server; add it to the setting hosts"
            )
        is_listed = origin is not None and bool({origin, "*"} & {*now.origins})
        is_foreign = origin is not None and not is_listed and origin_host(origin) != host
        if is_foreign and scope["method"] not in READING and not keys():
            raise ApiError(
                403, "bad_origin", f"Origin: {origin!r:.100} may not call this server; add it to the setting origins"
            )
        if not is_listed:
            return await app(scope, receive, send)
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            return await send_preflight(str(origin), send)

        async def send_allowed(message: Message) -> None:
            if message["type"] == "http.response.start":
                allow(MutableHeaders(scope=message), str(origin))
            await send(message)

        return await app(scope, receive, send_allowed)

    return call


def is_own_host(host: str, settings: ServeSettings, has_keys: bool) -> bool:
    """Names of this machine and those listed; any, where requests need a key anyway and no names are listed."""
    name = host_name(host)
    if {name, "*"} & {known.lower() for known in settings.hosts}:
        return True
    return is_local_name(name) or name == settings.host.lower() or (has_keys and not settings.hosts)


def origin_host(origin: str) -> str:
    """The host and port of an origin; none of `null` and of what is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def host_name(host: str) -> str:
    """The name in a Host header, without its port."""
    name = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    return name.strip("[]").rstrip(".").lower()


def is_local_name(name: str) -> bool:
    """localhost, 127.0.0.1, ::1."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


async def send_preflight(origin: str, send: Send) -> None:
    """Tell a browser that the page may ask."""
    message: Message = {"type": "http.response.start", "status": 204, "headers": []}
    headers = MutableHeaders(scope=message)
    for name, value in PREFLIGHT.items():
        headers[name] = value
    allow(headers, origin)
    await send(message)
    await send({"type": "http.response.body"})


def allow(headers: MutableHeaders, origin: str) -> None:
    headers["Access-Control-Allow-Origin"] = origin
    headers["Access-Control-Expose-Headers"] = EXPOSED
    headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    headers.add_vary_header("Origin")
