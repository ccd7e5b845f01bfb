"""The fields of requests for text, in groups: how tokens are sampled, what comes back, and what is asked.

A field that is absent or null takes the server's setting. The names are OpenAI's, and vLLM's where OpenAI has none.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Stop = Annotated[
    str | list[str] | None, Meta(description="Text, or texts, that end a reply and are not part of it.")
]  # fmt: skip


class SamplingFields(msgspec.Struct, kw_only=True, frozen=True):
    """How the tokens of a reply are chosen."""

    temperature: Annotated[float | None, Meta(description="0 for the likeliest token, above it sampling.")] = None
    top_p: Annotated[float | None, Meta(description="Nucleus sampling: above 0, and 1 for all tokens.")] = None
    top_k: Annotated[int | None, Meta(description="So many of the likeliest tokens, 0 or -1 for all.")] = None
    min_p: Annotated[float | None, Meta(description="Drop tokens below this share of the likeliest.")] = None
    repetition_penalty: Annotated[float | None, Meta(description="Above 1 against tokens of prompt and reply.")] = None
    presence_penalty: Annotated[float | None, Meta(description="-2 to 2, taken once from tokens of the reply.")] = None
    frequency_penalty: Annotated[float | None, Meta(description="-2 to 2, taken as often as a token came.")] = None
    logit_bias: Annotated[
        dict[str, float] | None, Meta(description="-100, never, to 100, always, by the id of a token.")
    ] = None
    seed: Annotated[int | None, Meta(description="Repeats a reply; drawn and returned where none is given.")] = None


class StreamOptions(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What a stream brings beside text."""

    include_usage: Annotated[bool | None, Meta(description="A last chunk with the usage.")] = None
    include_obfuscation: Annotated[bool | None, Meta(description="Without effect.")] = None
    continuous_usage_stats: Annotated[Literal[False] | None, Meta(description="Not available.")] = None


class JsonSchema(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A JSON schema with its name."""

    name: str | None = None
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: Annotated[bool | None, Meta(description="Replies match in any case.")] = None


class ResponseFormat(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What a reply must be: free text, an object of JSON, or what a schema describes."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None
    schema: Annotated[dict[str, Any] | None, Meta(description="Of a json_object, as llama.cpp has it.")] = None


class StructuredOutputs(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What a reply must match, as vLLM names it: one of these."""

    json: dict[str, Any] | str | None = None
    regex: str | None = None
    choice: list[str] | None = None


class OutputFields(msgspec.Struct, kw_only=True, frozen=True):
    """How much comes back, in which form, and where it ends."""

    model: Annotated[str | None, Meta(description="A name of /v1/models; the default for none.")] = None
    max_tokens: Annotated[int | None, Meta(description="Tokens of a reply at most; -1 for what the context has.")] = (
        None
    )
    n: Annotated[int | None, Meta(description="Choices; their seeds are seed, seed + 1 and so on.")] = None
    stop: Stop = None
    stream: Annotated[bool | None, Meta(description="Send the reply as it grows, as server-sent events.")] = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    guided_json: dict[str, Any] | str | None = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    truncate: Annotated[
        Literal["oldest"] | None, Meta(description="Leave out the oldest turns that do not fit; else it is refused.")
    ] = None


class ContentPart(msgspec.Struct, kw_only=True, frozen=True):
    """A part of a content; only text is read."""

    type: str
    text: str | None = None


class ChatMessage(msgspec.Struct, kw_only=True, frozen=True):
    """A turn of a conversation."""

    role: str
    content: str | list[ContentPart] | None = None
    name: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None


class ChatFields(msgspec.Struct, kw_only=True, frozen=True):
    """A conversation that wants a reply."""

    messages: list[dict[str, Any]]
    logprobs: Annotated[bool | None, Meta(description="The log-probability of each token of the reply.")] = None
    top_logprobs: Annotated[int | None, Meta(description="So many likely tokens beside each, 0 to 20.")] = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Annotated[
        str | dict[str, Any] | None, Meta(description="none, auto, required, or a function by its name.")
    ] = None
    parallel_tool_calls: Annotated[bool | None, Meta(description="false for one call at most.")] = None
    continue_final_message: Annotated[bool | None, Meta(description="Go on with the assistant's last turn.")] = None
    add_generation_prompt: Annotated[bool | None, Meta(description="false: no turn is opened for the reply.")] = None


class CompletionFields(msgspec.Struct, kw_only=True, frozen=True):
    """Text that is to be gone on with, as it is: no template is applied, and control tokens are control tokens."""

    prompt: Annotated[
        str | list[str | int | list[int]], Meta(description="A text, texts, the ids of one, or those of several.")
    ]
    logprobs: Annotated[int | None, Meta(description="So many likely tokens beside each, 0 to 20.")] = None
    echo: Annotated[bool | None, Meta(description="The prompt before its reply.")] = None
    add_special_tokens: Annotated[bool | None, Meta(description="Begin as the tokenizer does; true for none.")] = None
