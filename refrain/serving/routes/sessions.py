"""Conversations that the server keeps: chats of the page, and the stored ones of /v1/responses."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse

from refrain.serving.api.body import parse_object
from refrain.serving.errors import ApiError, invalid_value
from refrain.serving.responses.session_store import NotStoredError, SessionStore
from refrain.serving.routing import route
from refrain.serving.trust import owner_of, require_trusted

NAME = re.compile(r"[\w.-]{1,100}", re.ASCII)
LONGEST_TITLE = 200
MOST_LISTED = 1000


async def list_sessions(request: Request) -> JSONResponse:
    """What there is, the newest first."""
    store, owner = find_store(request), owner_of(request)
    limit, offset = read_count(request, "limit", 100, 1, MOST_LISTED), read_count(request, "offset", 0, 0, 2**31)
    rows = await asyncio.to_thread(store.list_sessions, owner, limit + 1, offset)
    return JSONResponse({"object": "list", "data": rows[:limit], "has_more": len(rows) > limit})


async def get(request: Request) -> JSONResponse:
    """A chat as it was put, or a conversation of responses."""
    store, owner, name = find_store(request), owner_of(request), read_name(request)
    if (chat := await asyncio.to_thread(store.find_chat, owner, name)) is not None:
        return JSONResponse(chat)
    if chain := await asyncio.to_thread(store.find_chain, owner, name):
        responses = [{"response": each.response, "input_items": each.items} for each in chain]
        return JSONResponse({"object": "refrain.session", "id": name, "responses": responses})
    raise not_found(name)


async def put(request: Request) -> JSONResponse:
    """Keep a chat, whatever is in it."""
    store, name = find_store(request), read_name(request)
    chat = parse_object(await request.body())
    title = chat.get("title")
    title = title[:LONGEST_TITLE] if isinstance(title, str) else ""
    try:
        await asyncio.to_thread(store.put_chat, owner_of(request), name, int(time.time()), title, chat)
    except NotStoredError as error:
        raise ApiError(507, "not_stored", f"{name}: the chat was not stored ({error}), what was there is as it was; "
                       "make room where the sessions are") from error  # fmt: skip
    return JSONResponse({"object": "refrain.session", "id": name})


async def delete(request: Request) -> JSONResponse:
    """Forget a chat, or a conversation of responses as far as no other goes on from it."""
    store, owner, name = find_store(request), owner_of(request), read_name(request)
    is_deleted = await write(store.delete_chat, owner, name) or await write(store.delete_conversation, owner, name)
    if not is_deleted:
        raise not_found(name)
    return JSONResponse({"object": "refrain.session.deleted", "id": name, "deleted": True})


async def delete_all(request: Request) -> JSONResponse:
    """Forget everything."""
    count = await write(find_store(request).delete_all, owner_of(request))
    return JSONResponse({"object": "refrain.sessions.deleted", "deleted": count})


async def export(request: Request) -> StreamingResponse:
    """Everything: a line for each chat and response, or one list of JSON with format=json."""
    store, form = find_store(request), request.query_params.get("format", "jsonl")
    if form not in ("json", "jsonl"):
        raise invalid_value("format", f"format: there is no {form[:20]!a}; give jsonl or json")
    lines = write_lines(store.export(owner_of(request)), form == "json")
    headers = {"Content-Disposition": f'attachment; filename="sessions.{form}"', "Cache-Control": "no-store"}
    return StreamingResponse(lines, media_type=f"application/{form}", headers=headers)


async def write_lines(rows: Iterator[dict[str, Any]], is_list: bool) -> AsyncIterator[str]:
    """Each row as a line; those of a list with what JSON wants around them."""
    yield "[\n" if is_list else ""
    row = await asyncio.to_thread(next, rows, None)
    while row is not None:
        following = await asyncio.to_thread(next, rows, None)
        yield json.dumps(row) + (",\n" if is_list and following is not None else "\n")
        row = following
    yield "]\n" if is_list else ""


async def write(change: Any, *arguments: Any) -> int:
    """How many there were; ApiError 507 where the disk does not take it."""
    try:
        return int(await asyncio.to_thread(change, *arguments))
    except NotStoredError as error:
        raise ApiError(
            507, "not_stored", f"sessions: nothing was deleted ({error}); make room where they are"
        ) from error


def find_store(request: Request) -> SessionStore:
    """Where chats are kept; ApiError 404 where the server keeps none."""
    require_trusted(request, "sessions")
    store: SessionStore = request.app.state.server.sessions
    if store.folder is None:
        raise ApiError(404, "no_sessions", "sessions: the server keeps none; start it with --sessions FOLDER")
    return store


def read_name(request: Request) -> str:
    name: str = request.path_params["name"]
    if not NAME.fullmatch(name):
        raise invalid_value("id", "id: it must be 1 to 100 of a-z, A-Z, 0-9, _, - and .")
    return name


def read_count(request: Request, name: str, default: int, least: int, most: int) -> int:
    """A whole number of the query."""
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 12 and least <= int(text) <= most):
        raise invalid_value(name, f"{name}: {text[:20]!a} is no whole number from {least} to {most}")
    return int(text)


def not_found(name: str) -> ApiError:
    return ApiError(
        404, "session_not_found", f"{name}: there is no such session; /v1/refrain/sessions lists them", "id"
    )


ROUTES = [
    route("/v1/refrain/sessions", GET=list_sessions, DELETE=delete_all),
    route("/v1/refrain/sessions/export", GET=export),
    route("/v1/refrain/sessions/{name}", GET=get, PUT=put, DELETE=delete),
]
