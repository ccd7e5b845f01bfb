"""The fields of /v1/responses, beside those of sampling."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from refrain.serving.api.fields import Stop

LOGPROBS = "message.output_text.logprobs"  # of `include`
WITHOUT_EFFECT = ("reasoning.encrypted_content",)  # nothing is ever reasoned here


class TextFormat(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What a reply must be: free text, an object of JSON, or what a schema describes."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: Annotated[bool | None, Meta(description="Replies match in any case.")] = None


class TextSettings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The form of a reply."""

    format: TextFormat | None = None
    verbosity: Annotated[Literal["medium"] | None, Meta(description="No other one is available.")] = None


class ReasoningSettings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Nothing of it is available."""

    effort: Literal["none"] | None = None
    summary: None = None
    generate_summary: None = None


class ResponseStreamOptions(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What a stream brings beside text."""

    include_obfuscation: Annotated[bool | None, Meta(description="Without effect.")] = None


class ResponseFields(msgspec.Struct, kw_only=True, frozen=True):
    """What is asked, what it goes on from, and what comes back."""

    input: Annotated[str | list[dict[str, Any]], Meta(description="A text, or items: messages, calls, their outputs.")]
    model: Annotated[str | None, Meta(description="A name of /v1/models; the default for none.")] = None
    instructions: Annotated[str | None, Meta(description="A system turn before all others, for this once.")] = None
    previous_response_id: Annotated[str | None, Meta(description="A stored response that this goes on from.")] = None
    store: Annotated[bool | None, Meta(description="false: nothing is kept of it.")] = None
    metadata: Annotated[dict[str, str] | None, Meta(description="Kept and returned: 16 pairs of texts at most.")] = None
    max_output_tokens: Annotated[int | None, Meta(description="Tokens of the reply at most.")] = None
    text: TextSettings | None = None
    truncation: Annotated[
        Literal["auto", "disabled"] | None, Meta(description="auto: leave out the oldest turns that do not fit.")
    ] = None
    stream: Annotated[bool | None, Meta(description="Send the reply as it grows, as server-sent events.")] = None
    stream_options: ResponseStreamOptions | None = None
    stop: Stop = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Annotated[
        str | dict[str, Any] | None, Meta(description="none, auto, required, or a function by its name.")
    ] = None
    parallel_tool_calls: Annotated[bool | None, Meta(description="false for one call at most.")] = None
    include: Annotated[list[str] | None, Meta(description=f"{LOGPROBS}, or nothing.")] = None
    top_logprobs: Annotated[int | None, Meta(description="So many likely tokens beside each, 0 to 20.")] = None
    reasoning: ReasoningSettings | None = None
    background: Annotated[Any, Meta(description="Not available: false alone.")] = None
    conversation: Annotated[Any, Meta(description="Not available: previous_response_id is.")] = None
    prompt: Annotated[Any, Meta(description="Not available: input is.")] = None
    max_tool_calls: Annotated[Any, Meta(description="Not available: no tool runs here.")] = None
    moderation: Annotated[Any, Meta(description="Not available.")] = None
    context_management: Annotated[Any, Meta(description="Not available: truncation is.")] = None


UNAVAILABLE = {
    "background": "replies are waited for, or streamed",
    "conversation": "give previous_response_id",
    "prompt": "give input",
    "max_tool_calls": "no tool runs here",
    "moderation": "nothing is moderated here",
    "context_management": "set truncation",
}


class MessageItem(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A turn; those that were answered may come back as they were."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[dict[str, Any]]
    type: Literal["message"] = "message"
    id: str | None = None
    status: str | None = None
    phase: str | None = None


class CallItem(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A function that the assistant has called."""

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str
    id: str | None = None
    status: str | None = None


class CallOutputItem(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What the function gave back."""

    type: Literal["function_call_output"]
    call_id: str
    output: str | list[dict[str, Any]]
    id: str | None = None
    status: str | None = None
