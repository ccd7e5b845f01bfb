"""POST /v1/completions: text is gone on with, as it is."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from refrain.serving import sse
from refrain.serving.api import response_format
from refrain.serving.api.body import Body, read_body
from refrain.serving.api.fields import CompletionFields, OutputFields, SamplingFields
from refrain.serving.backends.protocol import Generation, Piece
from refrain.serving.disconnect import run_while_connected
from refrain.serving.errors import ApiError, invalid_value
from refrain.serving.lineage import answer_facts
from refrain.serving.lineage.answer_facts import AnswerRecorder, public_reason, refrain_facts
from refrain.serving.models.model_pool import ServedModel
from refrain.serving.requests import choices, plan, prompts
from refrain.serving.requests.logprobs import TokenPlacer
from refrain.serving.requests.plan import Plan
from refrain.serving.trust import owner_of

GROUPS = (SamplingFields, OutputFields, CompletionFields)
Prompt = str | list[int]


async def create(request: Request) -> Response:
    """What follows a text, or several, whole or as a stream."""
    server = request.app.state.server
    body = await read_body(request, GROUPS, server.settings.lenient)
    recorder = AnswerRecorder(server.answers, body.fields, owner_of(request))
    model = await server.models.find(body.convert(OutputFields).model)
    made, echoes = await run_while_connected(request, plan_completion(server, body, model))
    generations = choices.submit_all(server.submit, model, made.requests)
    head = answer_facts.answer_head("cmpl", "text_completion", model)
    if made.output.is_stream:
        events = stream_chunks(recorder, made, generations, head, echoes)
        return sse.stream_events(events, lambda: choices.cancel_all(generations), made.headers())
    pieces = await run_while_connected(request, choices.collect(generations))
    recorder.record(made, head["id"], head["created"], pieces)
    writers = [ChoiceWriter(made, nth, echo) for nth, echo in enumerate(echoes)]
    return JSONResponse(
        head
        | {
            "choices": [writer.write(piece) for writer, piece in zip(writers, pieces, strict=True)],
            "usage": answer_facts.usage(made, generations, sum(len(piece.ids) for piece in pieces)),
            "refrain": refrain_facts(made, generations, [piece.finish_reason or "" for piece in pieces]),
        },
        headers=made.headers(),
    )


async def plan_completion(server: Any, body: Body, model: ServedModel) -> tuple[Plan, list[str]]:
    """The replies, and what is said before each of them; ApiError 400 for all that can be refused."""
    fields, tokenizer = body.convert(CompletionFields), server.tokenizers.find(model)
    chat, context = tokenizer.tokenizer, model.backend.context
    output = plan.plan_output(body, server.settings, chat.tokenizer.get_vocab_size())
    logprobs = plan.check_logprobs(fields.logprobs, "logprobs")
    if fields.echo and logprobs is not None:
        raise ApiError(400, "unsupported", "echo: a prompt has no log-probabilities here; leave echo or logprobs out",
                       "echo")  # fmt: skip
    if body.convert(OutputFields).truncate:
        raise ApiError(400, "unsupported", "truncate: a text has no turns to leave out; shorten it", "truncate")
    adds_special = fields.add_special_tokens is not False
    ids: list[list[int]] = []
    texts: list[str] = []
    for prompt in list_prompts(fields.prompt):
        if isinstance(prompt, str):
            encoded = await prompts.run_aside(len(prompt), prompts.encode_text, chat, prompt, adds_special)
        else:
            encoded = prompts.check_ids(chat, prompt, "prompt")
        prompts.require_room(len(encoded), context, "prompt")
        ids.append(encoded)
        texts.append(prompt if isinstance(prompt, str) else chat.tokenizer.decode(prompt, skip_special_tokens=False))
    source = response_format.find_grammar(body.convert(OutputFields))
    grammar = await server.grammars.compile(model, source) if source else None
    requests = plan.plan_requests(ids, output, context, grammar, logprobs, is_chat=False)
    plan.require_few(requests, server.settings, "prompt")
    echoes = [text if fields.echo else "" for text in texts for _ in range(output.num_choices)]
    return Plan(model, tokenizer, output, ids, requests, body.ignored), echoes


def list_prompts(given: str | list[str | int | list[int]]) -> list[Prompt]:
    """The prompts of a request, each a text or ids."""
    if isinstance(given, str):
        return [given]
    texts = [part for part in given if isinstance(part, str)]
    ids = [part for part in given if isinstance(part, int)]
    lists = [part for part in given if isinstance(part, list)]
    if not given or len(given) not in (len(texts), len(ids), len(lists)):
        raise invalid_value("prompt", "prompt: it must be a text, a list of texts, ids, or a list of lists of ids")
    return [ids] if ids else [*texts, *lists]


class ChoiceWriter:
    """Writes one reply as it grows."""

    def __init__(self, made: Plan, index: int, echo: str) -> None:
        self.index, self._echo, self._offset = index, echo, len(echo)
        self._format = made.tokenizer.logprob_format
        self._placer = TokenPlacer(made.tokenizer.token_bytes)
        self._has_logprobs = made.requests[0].logprobs is not None

    def write(self, piece: Piece) -> dict[str, Any]:
        """What has come."""
        echo, self._echo = self._echo, ""
        placed = self._placer.push(piece) if self._has_logprobs else []
        return {
            "index": self.index,
            "text": echo + piece.text,
            "logprobs": self._format.completion(placed, self._offset) if self._has_logprobs else None,
            "finish_reason": public_reason(piece.finish_reason),
        }


async def stream_chunks(
    recorder: AnswerRecorder, made: Plan, generations: Sequence[Generation], head: dict[str, Any], echoes: list[str]
) -> AsyncIterator[dict[str, Any]]:
    """The chunks of all choices as they grow; the last but the usage says what made them."""
    usage = {"usage": None} if made.output.includes_usage else {}
    wholes = [Piece() for _ in generations]
    writers = [ChoiceWriter(made, nth, echo) for nth, echo in enumerate(echoes)]
    async for nth, piece in choices.merge(generations):
        wholes[nth].extend(piece)
        choice, facts = writers[nth].write(piece), {}
        if choice["finish_reason"]:
            reasons = [whole.finish_reason or "" for whole in wholes]
            facts = {"refrain": refrain_facts(made, generations, reasons)}
        if choice["text"] or choice["finish_reason"] or choice["logprobs"]:
            yield head | {"choices": [choice]} | usage | facts
    recorder.record(made, head["id"], head["created"], wholes)
    if made.output.includes_usage:
        num_tokens = sum(len(whole.ids) for whole in wholes)
        yield head | {"choices": [], "usage": answer_facts.usage(made, generations, num_tokens)}


ROUTES = [Route("/v1/completions", create, methods=["POST"])]
