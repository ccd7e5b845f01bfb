"""What answers look like: OpenAI's fields, and beside them what made the answer."""

from typing import Literal

import msgspec


class ErrorDetails(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Why there is no answer."""

    message: str
    type: str
    param: str | None
    code: str


class Error(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What every route answers where it refuses, or fails."""

    error: ErrorDetails


class RefrainFacts(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """All that decides an answer: with it the same request has the same answer again."""

    seal: str
    variant: str
    commit: str | None
    seed: int
    max_tokens: int
    cached_tokens: int
    cache: Literal["hit", "miss", "off"]
    truncated_messages: int | msgspec.UnsetType = msgspec.UNSET
    reason: Literal["timeout"] | msgspec.UnsetType = msgspec.UNSET


class PromptTokensDetails(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    cached_tokens: int


class Usage(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Tokens of prompts and replies."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class LikelyToken(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A token that might have come."""

    token: str
    logprob: float
    bytes: list[int] | None


class ChosenToken(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A token of a reply, with the likeliest ones in its place."""

    token: str
    logprob: float
    bytes: list[int] | None
    top_logprobs: list[LikelyToken]


class ChatLogprobs(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    content: list[ChosenToken]
    refusal: None


class CalledFunction(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: str
    arguments: str


class AnsweredCall(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A call of a tool."""

    id: str
    type: Literal["function"]
    function: CalledFunction
    index: int | msgspec.UnsetType = msgspec.UNSET


class AnsweredMessage(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    role: Literal["assistant"]
    content: str | None
    refusal: None
    tool_calls: list[AnsweredCall] | msgspec.UnsetType = msgspec.UNSET


Reason = Literal["stop", "length", "tool_calls"]


class ChatChoice(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    index: int
    message: AnsweredMessage
    logprobs: ChatLogprobs | None
    finish_reason: Reason


class ChatCompletion(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The replies to a conversation."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: Usage
    refrain: RefrainFacts


class Delta(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    role: Literal["assistant"] | msgspec.UnsetType = msgspec.UNSET
    content: str | msgspec.UnsetType = msgspec.UNSET
    tool_calls: list[AnsweredCall] | msgspec.UnsetType = msgspec.UNSET


class ChunkChoice(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    index: int
    delta: Delta
    logprobs: ChatLogprobs | None
    finish_reason: Reason | None


class ChatCompletionChunk(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What an event of a stream brings; the last of a choice says what made it."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChunkChoice]
    usage: Usage | msgspec.UnsetType | None = msgspec.UNSET
    refrain: RefrainFacts | msgspec.UnsetType = msgspec.UNSET


class TextLogprobs(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class TextChoice(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    index: int
    text: str
    logprobs: TextLogprobs | None
    finish_reason: Reason | None


class Completion(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What follows texts, whole or in an event of a stream."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[TextChoice]
    usage: Usage | msgspec.UnsetType | None = msgspec.UNSET
    refrain: RefrainFacts | msgspec.UnsetType = msgspec.UNSET


class Model(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What requests may name as a model."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    root: str
    parent: str | None
    max_model_len: int | None


class ModelList(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    object: Literal["list"]
    data: list[Model]


class TokenPiece(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    id: int
    piece: str | list[int]


class Tokens(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Ids, their number, and what is left of the context."""

    count: int
    max_model_len: int
    left: int
    tokens: list[int]
    token_strs: list[str | None] | msgspec.UnsetType = msgspec.UNSET
    pieces: list[TokenPiece] | msgspec.UnsetType = msgspec.UNSET


class Text(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The text of ids, under vLLM's name and llama.cpp's."""

    prompt: str
    content: str


class Template(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A conversation as the model reads it, and where control tokens in it are text."""

    prompt: str
    typed: list[int]
