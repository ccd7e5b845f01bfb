"""GET /: the page to talk to the models, with its styles and modules below /page/."""

import hashlib
from functools import cache
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from refrain.serving.errors import ApiError

FOLDER = resources.files("refrain.serving") / "page"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types"
)
MEDIA_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
HEADERS = {
    "Cache-Control": "no-cache",  # kept, but asked about each time: an update is seen at once
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@cache
def read_files() -> dict[str, tuple[bytes, str]]:
    """The content of each file of the page and its ETag, by name."""
    contents = {file.name: file.read_bytes() for file in FOLDER.iterdir() if file.is_file()}
    return {name: (content, f'"{hashlib.sha256(content).hexdigest()[:32]}"') for name, content in contents.items()}


async def show(request: Request) -> Response:
    name = request.path_params.get("name", "index.html")
    if name not in read_files():
        raise ApiError(404, "no_route", f"{request.url.path}: the page has no such file; it is at /")
    content, etag = read_files()[name]
    headers = {**HEADERS, "ETag": etag}
    if etag in (value.strip().removeprefix("W/") for value in request.headers.get("If-None-Match", "").split(",")):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=MEDIA_TYPES[name.rpartition(".")[2]])


ROUTES = [Route("/", show), Route("/page/{name}", show)]
