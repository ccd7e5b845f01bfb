"""Requests and answers of /v1/completions as vLLM and llama.cpp have them: prompts as ids, replies with their ids."""

from dataclasses import dataclass
from typing import Any

from refrain.chat.encoding import ChatTokenizer
from refrain.generation.request import GenerationRequest
from refrain.serving.backends.http_stream import UpstreamError
from refrain.serving.backends.protocol import Piece, TokenLogprob
from refrain.serving.errors import ApiError

SEEDS = 2**32 - 1  # llama.cpp takes this many, and the last one for none
FINISH_REASONS = {"stop": "stop", "eos": "stop", "length": "length"}
TOKEN_ID = "token_id:"  # how vLLM names a token that it was asked the id of


def refuse_unsupported(request: GenerationRequest) -> None:
    """ApiError for what no other server can be held to."""
    if request.grammar is not None:
        sentence = "response_format: what another server answers cannot be held to a grammar; serve with backend=onnx"
        raise ApiError(400, "unsupported", sentence, "response_format")


def make_body(tokenizer: ChatTokenizer, request: GenerationRequest, model: str) -> dict[str, Any]:
    """The request, with every value that the other server has a default of its own for."""
    sampling = request.sampling
    stop = [*(tokenizer.stop_strings if request.is_chat else ()), *request.stop_strings]
    return {
        "model": model,
        "prompt": request.prompt_ids,
        "max_tokens": request.max_new_tokens,
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},  # the latter of vLLM
        "seed": sampling.seed % SEEDS,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k or 0,  # all of them, in both
        "min_p": sampling.min_p,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "repetition_penalty": sampling.repetition_penalty,  # vLLM's name
        "repeat_penalty": sampling.repetition_penalty,  # llama.cpp's
        "repeat_last_n": len(request.prompt_ids) + request.max_new_tokens,  # of llama.cpp: all of them
        "logit_bias": {str(token): bias for token, bias in sampling.logit_bias.items()},
        "logprobs": max(1, request.logprobs or 0),  # with them come the ids
        "return_tokens_as_token_ids": True,  # of vLLM
        "stop_token_ids": sorted(tokenizer.stop_ids),  # of vLLM
        **({"stop": stop} if stop else {}),
    }


@dataclass(frozen=True)
class Chunk:
    """What one event of a stream adds."""

    piece: Piece
    num_cached_tokens: int
    num_prompt_tokens: int | None  # in the last one


def read_chunk(tokenizer: ChatTokenizer, request: GenerationRequest, event: dict[str, Any]) -> Chunk:
    """An event, up to a token that ends the reply; UpstreamError for an error, or where ids are missing."""
    if event.get("error"):
        raise UpstreamError(describe_error(event) or "it reports an error")
    choice = (event.get("choices") or [{}])[0]
    text, reason = choice.get("text") or "", choice.get("finish_reason")
    if reason is not None and reason not in FINISH_REASONS:
        raise UpstreamError(f"the reply ended with {reason}")
    tokens, is_whole = read_tokens(choice.get("logprobs") or {})
    if not is_whole and request.logprobs is not None:
        raise UpstreamError("it tells no log-probabilities of the parts of a character; ask without logprobs")
    if not is_whole:
        ids = tokenizer.tokenizer.encode(text, add_special_tokens=False).ids or [token.id for token in tokens]
        tokens = [TokenLogprob(token, 0.0, []) for token in ids]
    end = next((at for at, token in enumerate(tokens) if token.id in tokenizer.stop_ids), len(tokens))
    finish_reason = "stop" if end < len(tokens) else FINISH_REASONS.get(reason or "")
    piece = Piece(text, [token.id for token in tokens[:end]], finish_reason=finish_reason)
    if request.logprobs is not None:
        piece.logprobs = [token._replace(top=token.top[: request.logprobs]) for token in tokens[:end]]
    usage = event.get("usage") or {}
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return Chunk(piece, cached, usage.get("prompt_tokens"))


def read_tokens(logprobs: dict[str, Any]) -> tuple[list[TokenLogprob], bool]:
    """The tokens of an event, and whether those are all: llama.cpp keeps the first parts of a character to itself."""
    try:
        if "content" in logprobs:
            entries = logprobs["content"]
            tokens = [
                TokenLogprob(
                    entry["id"],
                    entry["logprob"],
                    [(other["id"], other["logprob"]) for other in entry.get("top_logprobs", [])],
                )
                for entry in entries
            ]
            return tokens, all(is_whole_text(entry.get("bytes") or []) for entry in entries)
        names, values = logprobs.get("tokens") or [], logprobs.get("token_logprobs") or []
        tops = logprobs.get("top_logprobs") or [{}] * len(names)
        return [
            TokenLogprob(read_id(name), value or 0.0, sort_falling(top))
            for name, value, top in zip(names, values, tops, strict=True)
        ], True
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UpstreamError(f"it answers log-probabilities of an unknown form ({error})") from error


def read_id(name: str) -> int:
    """The id that vLLM puts in place of a token's text."""
    if not name.startswith(TOKEN_ID):
        raise ValueError(f"{name!r} is no id")
    return int(name.removeprefix(TOKEN_ID))


def sort_falling(top: dict[str, float] | None) -> list[tuple[int, float]]:
    """The likeliest tokens, the likeliest first; of equal ones the lower id."""
    return sorted(((read_id(name), value) for name, value in (top or {}).items()), key=lambda pair: (-pair[1], pair[0]))


def is_whole_text(values: list[int]) -> bool:
    """Whether bytes begin and end with a character."""
    try:
        bytes(values).decode()
    except ValueError:
        return False
    return True


def describe_error(answer: Any) -> str:
    """The other server's own message, on one line; empty where it has none."""
    error = answer.get("error", answer) if isinstance(answer, dict) else {}
    message = error.get("message", error.get("detail", "")) if isinstance(error, dict) else error
    return " ".join(str(message).split())
