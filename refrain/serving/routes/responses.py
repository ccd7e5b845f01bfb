"""/v1/responses: a reply to items, and what was stored of it, for others to go on from."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from refrain.serving import sse
from refrain.serving.api.body import Body, read_body
from refrain.serving.api.fields import SamplingFields
from refrain.serving.api.response_fields import ResponseFields
from refrain.serving.backends.protocol import Generation, Piece
from refrain.serving.disconnect import run_while_connected
from refrain.serving.errors import ApiError, invalid_value
from refrain.serving.lineage.answer_facts import AnswerRecorder
from refrain.serving.requests import choices
from refrain.serving.requests.chat_plan import ChatPlan, plan_chat
from refrain.serving.responses.response_items import Item, read_items, title_of
from refrain.serving.responses.response_object import begin_response, end_response, fail_response
from refrain.serving.responses.response_plan import as_chat, check_fields, refusals_renamed
from refrain.serving.responses.response_writer import ResponseWriter
from refrain.serving.responses.session_store import NotStoredError, StoredResponse
from refrain.serving.routes.chat_completions import ChoiceWriter
from refrain.serving.routing import route
from refrain.serving.sse import explain_failure
from refrain.serving.trust import owner_of

GROUPS = (SamplingFields, ResponseFields)
TITLE_LENGTH, MOST_ITEMS, ITEMS = 200, 100, 20


@dataclass(frozen=True)
class Asked:
    """A request for a response, checked, and all that is needed to answer it."""

    server: Any
    owner: str
    body: Body
    fields: ResponseFields
    items: list[Item]  # of this request alone
    chat: ChatPlan


async def create(request: Request) -> Response:
    """A reply, whole or as a stream, behind the conversation that it goes on from."""
    server = request.app.state.server
    body = await read_body(request, GROUPS, server.settings.lenient)
    fields = body.convert(ResponseFields)
    check_fields(fields)
    items, owner = read_items(fields.input), owner_of(request)
    history = await find_history(server, owner, fields.previous_response_id)
    model = await server.models.find(fields.model)
    with refusals_renamed():
        planning = plan_chat(as_chat(body, fields, [*history, *items]), model, server.tokenizers.find(model),
                             server.settings, server.grammars)  # fmt: skip
        chat = await run_while_connected(request, planning)
    asked = Asked(server, owner, body, fields, items, chat)
    generations = choices.submit_all(server.submit, model, chat.plan.requests)
    if fields.stream:
        events = number_events(stream_events(asked, generations))
        return sse.stream_named_events(events, lambda: choices.cancel_all(generations), chat.plan.headers())
    (piece,) = await run_while_connected(request, choices.collect(generations))
    writer = ResponseWriter(ChoiceWriter(chat, 0))
    writer.push(piece)
    response = end_response(begin_response(fields, chat), chat, generations, piece, writer.output)
    return JSONResponse(await keep(asked, response, piece), headers=chat.plan.headers())


async def stream_events(asked: Asked, generations: Sequence[Generation]) -> AsyncIterator[dict[str, Any]]:
    """The events of a reply; one that fails says so before the stream breaks."""
    response, writer = begin_response(asked.fields, asked.chat), ResponseWriter(ChoiceWriter(asked.chat, 0))
    yield {"type": "response.created", "response": response}
    yield {"type": "response.in_progress", "response": response}
    whole = Piece()
    try:
        async for _, piece in choices.merge(generations):
            whole.extend(piece)
            for event in writer.push(piece):
                yield event
    except Exception as error:
        failure = explain_failure(error)
        yield {"type": "response.failed", "response": fail_response(response, failure.code, failure.message)}
        raise
    response = end_response(response, asked.chat, generations, whole, writer.output)
    response = await keep(asked, response, whole)
    yield {"type": f"response.{response['status']}", "response": response}


async def number_events(events: AsyncIterator[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    """Each event with its place in the stream."""
    number = 0
    try:
        async for event in events:
            yield {**event, "sequence_number": number}
            number += 1
    finally:
        await events.aclose()  # type: ignore[attr-defined]


async def keep(asked: Asked, response: dict[str, Any], whole: Piece) -> dict[str, Any]:
    """Log what was said and store it; the response says where it is stored, or why it is not."""
    recorder = AnswerRecorder(asked.server.answers, asked.body.fields, asked.owner)
    recorder.record(asked.chat.plan, response["id"], response["created_at"], [whole])
    if not response["store"]:
        return response
    place = "memory" if asked.server.sessions.folder is None else "sessions"
    kept = {**response, "refrain": {**response["refrain"], "stored": place}}
    stored = StoredResponse(kept["id"], asked.fields.previous_response_id, kept, asked.items)
    title = title_of(asked.items, TITLE_LENGTH)
    try:
        await asyncio.to_thread(asked.server.sessions.add_response, asked.owner, stored, title)
    except NotStoredError as error:
        reason = f"{kept['id']}: the response was not stored ({error}); make room where the sessions are"
        return {**response, "store": False, "refrain": {**response["refrain"], "stored": None, "not_stored": reason}}
    return kept


async def find_history(server: Any, owner: str, previous: str | None) -> list[Item]:
    """The items of all responses that this goes on from; ApiError 400 where one of them is gone."""
    if previous is None:
        return []
    chain = await asyncio.to_thread(server.sessions.find_chain, owner, previous)
    missing = chain[0].previous if chain else previous
    if missing is not None:
        raise ApiError(400, "previous_response_not_found", f"previous_response_id: {missing[:100]!a} is not stored"
                       f"{describe_memory(server)}", "previous_response_id")  # fmt: skip
    return items_of(chain)


def items_of(chain: Sequence[StoredResponse]) -> list[Item]:
    """What was asked and answered, in order."""
    return [item for stored in chain for item in (*stored.items, *stored.response["output"])]


def describe_memory(server: Any) -> str:
    """Why what was stored may be gone."""
    return "" if server.sessions.folder else "; without --sessions FOLDER responses are in memory, and the oldest leave"


async def retrieve(request: Request) -> JSONResponse:
    """A response as it was answered."""
    if request.query_params.get("stream", "false") != "false":
        raise ApiError(400, "unsupported", "stream: a stored response is not streamed again; leave it out", "stream")
    return JSONResponse((await find_chain(request))[-1].response)


async def delete(request: Request) -> JSONResponse:
    """Forget a response; those that go on from it can be read, and not be gone on from."""
    response_id, server = request.path_params["response_id"], request.app.state.server
    try:
        is_deleted = await asyncio.to_thread(server.sessions.delete_response, owner_of(request), response_id)
    except NotStoredError as error:
        raise ApiError(507, "not_stored", f"{response_id}: it was not deleted ({error}); make room where the sessions "
                       "are") from error  # fmt: skip
    if not is_deleted:
        raise not_found(request)
    return JSONResponse({"id": response_id, "object": "response", "deleted": True})


async def list_input_items(request: Request) -> JSONResponse:
    """What was read for a response, the conversation before it too; the newest first unless order is asc."""
    chain, query = await find_chain(request), request.query_params
    items = [*items_of(chain[:-1]), *chain[-1].items]
    if (order := query.get("order", "desc")) not in ("asc", "desc"):
        raise invalid_value("order", f"order: there is no {order[:20]!a}; give asc or desc")
    limit = query.get("limit", str(ITEMS))
    if not (limit.isascii() and limit.isdecimal() and len(limit) < 4 and 1 <= int(limit) <= MOST_ITEMS):
        raise invalid_value("limit", f"limit: {limit[:20]!a} is no whole number from 1 to {MOST_ITEMS}")
    items = items if order == "asc" else items[::-1]
    if (after := query.get("after")) is not None:
        ids = [item["id"] for item in items]
        if after not in ids:
            raise invalid_value("after", f"after: {after[:100]!a} is no item of this response; give the last one's id")
        items = items[ids.index(after) + 1 :]
    page = items[: int(limit)]
    ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {"first_id": None, "last_id": None}
    return JSONResponse({"object": "list", "data": page, **ends, "has_more": len(items) > len(page)})


async def find_chain(request: Request) -> list[StoredResponse]:
    """The response of the path behind those that it goes on from; ApiError 404 where it is not stored."""
    server, response_id = request.app.state.server, request.path_params["response_id"]
    chain: list[StoredResponse] = await asyncio.to_thread(server.sessions.find_chain, owner_of(request), response_id)
    if not chain:
        raise not_found(request)
    return chain


def not_found(request: Request) -> ApiError:
    response_id, server = request.path_params["response_id"], request.app.state.server
    return ApiError(404, "response_not_found", f"{response_id[:100]}: no such response is stored"
                    f"{describe_memory(server)}", "response_id")  # fmt: skip


ROUTES = [
    route("/v1/responses", POST=create),
    route("/v1/responses/{response_id}", GET=retrieve, DELETE=delete),
    route("/v1/responses/{response_id}/input_items", GET=list_input_items),
]
