"""The other server: which model of it answers, and the proof that it is ours, before anybody is answered."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import numpy as np

from refrain.chat import encoding
from refrain.chat.encoding import ChatTokenizer
from refrain.generation import sampling
from refrain.generation.request import GenerationRequest
from refrain.generation.sampling import SamplingParams
from refrain.runtime import detokenizer
from refrain.runtime.loading import Session
from refrain.serving.backends import http_stream, openai_format
from refrain.serving.backends.http_stream import UNREACHABLE, Address, UpstreamError
from refrain.serving.backends.openai_format import Chunk

log = logging.getLogger(__name__)
BUSY = "upstream_busy"
QUESTIONS = ("Hello", "What is fog?", "Tell me a story about the sea.", "Why is that so?")  # the first tokens of whose
WORST_DIFFERENCE = 0.5  # ... replies may differ so much in log-probability on average: several times that of few bits
PROOF_SECONDS = 120.0  # for all that is asked at the start, of a server that may still load its model
TOKENS = 8  # of the reply by which its text is compared
WAY_OUT = "serve this model there with vLLM or llama.cpp, which take prompts as ids and name those of replies"


@dataclass(frozen=True)
class Upstream:
    """The other server, and which of its models is asked."""

    address: Address
    model: str
    api_key: str | None

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.api_key is None else {"Authorization": f"Bearer {self.api_key}"}

    async def get(self, path: str) -> Any:
        """What it answers; UpstreamError where that is no answer."""
        async with http_stream.ask(self.address, path, self.headers) as answer:
            content = await answer.read_json()
            if answer.status >= 400:
                raise UpstreamError(f"{answer.status}: {openai_format.describe_error(content)}")
            return content

    async def stream(self, tokenizer: ChatTokenizer, request: GenerationRequest) -> AsyncGenerator[Chunk, None]:
        """The reply as it comes; UpstreamError where it breaks off."""
        body = openai_format.make_body(tokenizer, request, self.model)
        async with http_stream.ask(self.address, "/completions", self.headers, body) as answer:
            if answer.status >= 400:
                message = openai_format.describe_error(await answer.read_json())
                raise UpstreamError(f"{answer.status}: {message}", *([BUSY] if answer.status in (429, 503) else []))
            async for line in answer.lines():
                name, _, data = line.partition(":")
                if name not in ("data", "error") or data.strip() == "[DONE]":
                    continue
                event = read_event(data)
                yield openai_format.read_chunk(tokenizer, request, {"error": event} if name == "error" else event)


def read_event(data: str) -> dict[str, Any]:
    """The object of one line of a stream."""
    try:
        event = json.loads(data)
    except ValueError as error:
        raise UpstreamError(f"it streams a line that is no JSON ({error})") from error
    if not isinstance(event, dict):
        raise UpstreamError("it streams a line that is no object")
    return event


def connect(
    url: str, model: str | None, api_key: str | None, tokenizer: ChatTokenizer, lm: Session | None
) -> tuple[Upstream, int | None]:
    """The other server and the tokens that it sees at once, where it says so.

    ValueError where it is out of reach, takes no ids, speaks in other tokens, or is not the model `lm`.
    """
    address = http_stream.parse_url(url)
    proof = asyncio.wait_for(prove(address, model, api_key, tokenizer, lm), PROOF_SECONDS)
    try:
        with ThreadPoolExecutor(1) as executor:  # an event loop may run in this thread already
            return executor.submit(asyncio.run, proof).result()
    except TimeoutError as error:
        raise ValueError(
            f"backend_url: {address}: it did not answer within {PROOF_SECONDS:.0f} s; look at its log"
        ) from error
    except UpstreamError as error:
        way_out = "start that server first" if error.code == UNREACHABLE else WAY_OUT
        raise ValueError(f"backend_url: {address}: {error}; {way_out}") from error


async def prove(
    address: Address, name: str | None, api_key: str | None, tokenizer: ChatTokenizer, lm: Session | None
) -> tuple[Upstream, int | None]:
    """The same, asking."""
    listed = read_models(await Upstream(address, "", api_key).get("/models"))
    if name not in listed and not (name is None and len(listed) == 1):
        there = ", ".join(listed) or "no model"
        wanted = f"{address} has {there}" if name is None else f"{address} has no {name}, but {there}"
        raise ValueError(f"backend_model: {wanted}; name one of those")
    upstream = Upstream(address, model := name or next(iter(listed)), api_key)
    await compare_tokens(upstream, tokenizer)
    if lm is None:
        log.info("%s: %s answers; beside the tokenizer is no exported model to compare it with", address, model)
        return upstream, listed[model]
    if (difference := await compare_logprobs(upstream, tokenizer, lm)) > WORST_DIFFERENCE:
        raise UpstreamError(f"{model} is another model: its log-probabilities differ by {difference:.2f} on average, "
                            f"and few bits by {WORST_DIFFERENCE} at most")  # fmt: skip
    log.info("%s: %s answers as the exported model does, log-probabilities within %.4f", address, model, difference)
    return upstream, listed[model]


def read_models(answer: Any) -> dict[str, int | None]:
    """Its models, each with the tokens that it sees at once, where it says so."""
    try:
        return {
            each["id"]: each.get("max_model_len") or (each.get("meta") or {}).get("n_ctx") for each in answer["data"]
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise UpstreamError("GET /v1/models lists no models") from error


async def compare_tokens(upstream: Upstream, tokenizer: ChatTokenizer) -> None:
    """UpstreamError unless it takes ids, and says a text in the tokens that it names."""
    request = make_question(tokenizer, QUESTIONS[0], TOKENS, None)
    text, ids, counts = "", list[int](), list[int]()
    async with aclosing(upstream.stream(tokenizer, request)) as chunks:
        async for chunk in chunks:
            text += chunk.piece.text
            ids += chunk.piece.ids
            counts += [] if chunk.num_prompt_tokens is None else [chunk.num_prompt_tokens]
    if counts and counts[-1] != len(request.prompt_ids):
        raise UpstreamError(f"it reads {len(request.prompt_ids)} ids as {counts[-1]} tokens")
    if text and not ids:
        raise UpstreamError("it does not tell the ids of its tokens")
    ours = "".join(detokenizer.detokenize(ids, tokenizer.tokenizer, tokenizer.stop_strings))
    if not (ours.startswith(text) or text.startswith(ours)):
        raise UpstreamError(f"its tokens are others: {ids} is {ours!r} here, and {text!r} there")


async def compare_logprobs(upstream: Upstream, tokenizer: ChatTokenizer, lm: Session) -> float:
    """The mean difference of the log-probabilities of first tokens, here and there."""
    differences: list[float] = []
    for question in QUESTIONS:
        request = make_question(tokenizer, question, 1, 1)
        logits = lm.allocate_slots(1).prefill(0, np.array(request.prompt_ids, dtype=np.int64))[-1]
        async with aclosing(upstream.stream(tokenizer, request)) as chunks:
            async for chunk in chunks:
                for found in chunk.piece.logprobs:
                    if found.id >= len(logits):
                        raise UpstreamError(f"its tokens are others: {found.id} is none here")
                    differences.append(abs(found.logprob - sampling.token_logprobs(logits, found.id, 0).chosen))
    return float(np.mean(differences)) if differences else 0.0


def make_question(tokenizer: ChatTokenizer, text: str, limit: int, logprobs: int | None) -> GenerationRequest:
    """A question, for the likeliest answer."""
    prompt_ids = encoding.encode_prompt(tokenizer, [{"role": "user", "content": text}])
    return GenerationRequest(prompt_ids, SamplingParams(), limit, logprobs=logprobs)
