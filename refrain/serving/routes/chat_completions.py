"""POST /v1/chat/completions."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from refrain.serving import sse
from refrain.serving.api.body import read_body
from refrain.serving.api.fields import ChatFields, OutputFields, SamplingFields
from refrain.serving.backends.protocol import Generation, Piece
from refrain.serving.disconnect import run_while_connected
from refrain.serving.lineage import answer_facts
from refrain.serving.lineage.answer_facts import AnswerRecorder, public_reason, refrain_facts
from refrain.serving.requests import choices
from refrain.serving.requests.chat_plan import ChatPlan, plan_chat
from refrain.serving.requests.logprobs import TokenPlacer
from refrain.serving.trust import owner_of

GROUPS = (SamplingFields, OutputFields, ChatFields)


async def create(request: Request) -> Response:
    """A reply to a conversation, or several, whole or as a stream."""
    server = request.app.state.server
    body = await read_body(request, GROUPS, server.settings.lenient)
    recorder = AnswerRecorder(server.answers, body.fields, owner_of(request))
    model = await server.models.find(body.convert(OutputFields).model)
    tokenizer = server.tokenizers.find(model)
    chat = await run_while_connected(request, plan_chat(body, model, tokenizer, server.settings, server.grammars))
    generations = choices.submit_all(server.submit, model, chat.plan.requests)
    if chat.plan.output.is_stream:
        events = stream_chunks(recorder, chat, generations)
        return sse.stream_events(events, lambda: choices.cancel_all(generations), chat.plan.headers())
    pieces = await run_while_connected(request, choices.collect(generations))
    head = answer_facts.answer_head("chatcmpl", "chat.completion", model)
    recorder.record(chat.plan, head["id"], head["created"], pieces)
    return JSONResponse(
        head
        | {
            "choices": [write_choice(ChoiceWriter(chat, nth), piece) for nth, piece in enumerate(pieces)],
            "usage": answer_facts.usage(chat.plan, generations, sum(len(piece.ids) for piece in pieces)),
            "refrain": refrain_facts(chat.plan, generations, [piece.finish_reason or "" for piece in pieces]),
        },
        headers=chat.plan.headers(),
    )


class ChoiceWriter:
    """Writes one reply as it grows."""

    def __init__(self, chat: ChatPlan, index: int) -> None:
        self.index = index
        self._format = chat.plan.tokenizer.logprob_format
        self._placer = TokenPlacer(chat.plan.tokenizer.token_bytes)
        self._has_logprobs = chat.plan.requests[0].logprobs is not None
        self._reader = chat.call_reader()

    def write(self, piece: Piece) -> dict[str, Any]:
        """What has come as words, calls, log-probabilities and a reason to end."""
        is_last = piece.finish_reason is not None
        words, calls = self._reader.push(piece.text, is_last) if self._reader else (piece.text, [])
        placed = self._placer.push(piece) if self._has_logprobs else []
        return {
            "words": words,
            "calls": calls,
            "logprobs": self._format.chat(placed) if self._has_logprobs else None,
            "finish_reason": "tool_calls" if calls else public_reason(piece.finish_reason),
        }


def write_choice(writer: ChoiceWriter, piece: Piece) -> dict[str, Any]:
    """A whole reply."""
    written = writer.write(piece)
    message: dict[str, Any] = {"role": "assistant", "content": written["words"], "refusal": None}
    if written["calls"]:
        calls = [{key: value for key, value in call.items() if key != "index"} for call in written["calls"]]
        message |= {"content": written["words"].strip() or None, "tool_calls": calls}
    return {
        "index": writer.index,
        "message": message,
        "logprobs": written["logprobs"],
        "finish_reason": written["finish_reason"],
    }


async def stream_chunks(
    recorder: AnswerRecorder, chat: ChatPlan, generations: Sequence[Generation]
) -> AsyncIterator[dict[str, Any]]:
    """The chunks of all choices as they grow; the last but the usage says what made them."""
    head = answer_facts.answer_head("chatcmpl", "chat.completion.chunk", chat.plan.model)
    usage = {"usage": None} if chat.plan.output.includes_usage else {}
    wholes = [Piece() for _ in generations]
    writers = [ChoiceWriter(chat, nth) for nth in range(len(generations))]
    for writer in writers:
        yield head | {"choices": [write_delta(writer.index, {"role": "assistant", "content": ""})]} | usage
    async for nth, piece in choices.merge(generations):
        wholes[nth].extend(piece)
        for choice in write_deltas(writers[nth], piece):
            facts = {}
            if choice["finish_reason"]:
                reasons = [whole.finish_reason or "" for whole in wholes]
                facts = {"refrain": refrain_facts(chat.plan, generations, reasons)}
            yield head | {"choices": [choice]} | usage | facts
    recorder.record(chat.plan, head["id"], head["created"], wholes)
    if chat.plan.output.includes_usage:
        num_tokens = sum(len(whole.ids) for whole in wholes)
        yield head | {"choices": [], "usage": answer_facts.usage(chat.plan, generations, num_tokens)}


def write_deltas(writer: ChoiceWriter, piece: Piece) -> list[dict[str, Any]]:
    """The chunks of one choice for what has come: its words, its calls, and its end."""
    written = writer.write(piece)
    logprobs, deltas = written["logprobs"], []
    if written["words"] or (logprobs and logprobs["content"]):
        deltas.append(write_delta(writer.index, {"content": written["words"]}, logprobs))
    deltas += [write_delta(writer.index, {"tool_calls": [call]}) for call in written["calls"]]
    if written["finish_reason"]:
        deltas.append(write_delta(writer.index, {}, None, written["finish_reason"]))
    return deltas


def write_delta(
    index: int, delta: dict[str, Any], logprobs: dict[str, Any] | None = None, reason: str | None = None
) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}


ROUTES = [Route("/v1/chat/completions", create, methods=["POST"])]
