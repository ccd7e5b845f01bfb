"""POST /v1/chat/completions."""

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from refrain.chat import encoding
from refrain.generation.request import GenerationRequest
from refrain.generation.sampling import SamplingParams
from refrain.serving import sse
from refrain.serving.backends.protocol import Generation
from refrain.serving.model_pool import ServedModel


async def create(request: Request) -> Response:
    body = await request.json()
    model: ServedModel = await request.app.state.server.models.find(body.get("model"))
    prompt_ids = encoding.encode_prompt(model.backend.tokenizer, body["messages"])
    seed = body.get("seed", secrets.randbelow(2**32))
    sampling = SamplingParams(temperature=body.get("temperature", 1.0), seed=seed)
    limit = min(body.get("max_tokens", 256), model.backend.context - len(prompt_ids))
    generation = request.app.state.server.submit(model, GenerationRequest(prompt_ids, sampling, limit))
    answer_id, created = f"chatcmpl-{secrets.token_hex(12)}", int(time.time())
    head = {"id": answer_id, "created": created, "model": model.name, "system_fingerprint": model.seal[:16]}
    if body.get("stream"):
        return sse.stream_events(chunks(generation, head))
    text, reason = "", None
    async for piece in generation:
        text, reason = text + piece.text, piece.finish_reason
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
    return JSONResponse({**head, "object": "chat.completion", "choices": [choice], "refrain": {"seed": seed}})


async def chunks(generation: Generation, head: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    def chunk(delta: dict[str, str], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        return {**head, "object": "chat.completion.chunk", "choices": [choice]}

    try:
        yield chunk({"role": "assistant", "content": ""})
        async for piece in generation:
            if piece.text:
                yield chunk({"content": piece.text})
            if piece.finish_reason:
                yield chunk({}, piece.finish_reason)
    finally:
        generation.cancel()


ROUTES = [Route("/v1/chat/completions", create, methods=["POST"])]
