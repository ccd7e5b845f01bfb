"""Where models and answers come from, and answers made again."""

import asyncio
import dataclasses
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from refrain.generation.request import GenerationRequest
from refrain.serving.disconnect import run_while_connected
from refrain.serving.errors import ApiError
from refrain.serving.lineage import replay
from refrain.serving.lineage.answer_log import Answer
from refrain.serving.models.model_pool import ServedModel
from refrain.serving.requests import choices
from refrain.serving.requests.prompt_text import prompt_parts
from refrain.serving.trust import owner_of


async def list_models(request: Request) -> JSONResponse:
    """The lineage of each model that is open; the others are named."""
    server = request.app.state.server
    names = server.models.names()
    in_order = sorted(server.models.open_models(), key=lambda model: names.index(model.name))
    models = [await server.lineage.describe(model) for model in in_order]
    return JSONResponse({"object": "list", "data": models, "models": names})


async def describe(request: Request) -> JSONResponse:
    """What made an answer: its model and where that is from, its prompt as text, its request and its seed."""
    server, answer = request.app.state.server, find_answer(request)
    model = await server.models.find(answer.model)
    facts = await server.lineage.describe(model) if model.seal == answer.seal else {"model": answer.model}
    return JSONResponse(
        {
            "id": answer.id,
            "object": "refrain.lineage",
            "created": answer.created,
            **facts,
            "seal": answer.seal,
            "is_served": model.seal == answer.seal,
            **await asyncio.to_thread(describe_requests, answer, model),
        }
    )


def describe_requests(answer: Answer, model: ServedModel) -> dict[str, Any]:
    """The prompt of the first choice and how its tokens were sampled; the texts of all."""
    first = answer.requests[0]
    parts = prompt_parts(model.backend.tokenizer, first.prompt_ids) if model.seal == answer.seal else []
    return {
        "prompt": "".join(part["text"] for part in parts) or None,
        "prompt_tokens": len(first.prompt_ids),
        "request": {"asked": answer.asked, "prompt_parts": parts, "choices": len(answer.requests)},
        **describe_settings(first),
        "finish_reasons": answer.finish_reasons,
        "texts": answer.texts,
    }


def describe_settings(request: GenerationRequest) -> dict[str, Any]:
    """All that decides a reply beside its prompt."""
    settings = dataclasses.asdict(request.sampling)
    settings["logit_bias"] = {str(token): bias for token, bias in request.sampling.logit_bias.items()} or None
    grammar = None if request.grammar is None else getattr(request.grammar, "source", "a grammar")
    return {**settings, "max_tokens": request.max_new_tokens, "stop": list(request.stop_strings), "grammar": grammar}


async def make_again(request: Request) -> JSONResponse:
    """Whether the same comes out again, byte for byte, and else where it differs."""
    server, answer = request.app.state.server, find_answer(request)
    model = await server.models.find(answer.model)
    replay.require_same_model(answer, model)
    submit = partial(server.submit, uses_cache=False)
    generations = choices.submit_all(submit, model, answer.requests)
    pieces = await run_while_connected(request, choices.collect(generations))
    compared = replay.compare_answers(answer, [piece.text for piece in pieces])
    return JSONResponse({**compared, "model": model.name, "seal": model.seal})


def find_answer(request: Request) -> Answer:
    """The answer of the id in the path; ApiError 404 where it is not known any more."""
    answer_id = request.path_params["answer_id"]
    answer: Answer | None = request.app.state.server.answers.find(answer_id, owner_of(request))
    if answer is None:
        raise ApiError(404, "answer_not_found", f"{answer_id[:100]}: no answer of that id is known; the last ones are "
                       "kept in memory, as far as the setting answers_memory has room", "answer_id")  # fmt: skip
    return answer


ROUTES = [
    Route("/v1/refrain/lineage", list_models),
    Route("/v1/refrain/lineage/{answer_id}", describe),
    Route("/v1/refrain/replay/{answer_id}", make_again, methods=["POST"]),
]
