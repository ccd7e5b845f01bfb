"""From the body of a request for a response to a chat request, which the same code checks and plans."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from refrain.serving.api.body import Body
from refrain.serving.api.response_fields import LOGPROBS, UNAVAILABLE, WITHOUT_EFFECT, ResponseFields, TextFormat
from refrain.serving.errors import ApiError, invalid_value
from refrain.serving.responses.response_items import Item, to_messages

MOST_PAIRS, LONGEST_KEY, LONGEST_VALUE = 16, 64, 512  # of metadata
RENAMED = {  # what chat requests call it, in the order in which it is looked for
    "response_format.json_schema.schema": "text.format.schema",
    "response_format": "text.format",
    "max_tokens": "max_output_tokens",
    "messages": "input",
}


def check_fields(fields: ResponseFields) -> None:
    """ApiError 400 for what chat requests do not have."""
    for name, way_out in UNAVAILABLE.items():
        if getattr(fields, name) not in (None, False, []):
            raise ApiError(400, "unsupported", f"{name}: it is not available; {way_out}", name)
    metadata = fields.metadata or {}
    if len(metadata) > MOST_PAIRS or any(
        len(key) > LONGEST_KEY or len(value) > LONGEST_VALUE for key, value in metadata.items()
    ):
        raise invalid_value("metadata", f"metadata: it may have {MOST_PAIRS} pairs, of {LONGEST_KEY} and "
                            f"{LONGEST_VALUE} characters; give less")  # fmt: skip
    for name in fields.include or []:
        if name not in (LOGPROBS, *WITHOUT_EFFECT):
            raise ApiError(400, "unsupported", f"include: {name[:60]!a} is not available; give {LOGPROBS} or nothing",
                           "include")  # fmt: skip
    if fields.top_logprobs and LOGPROBS not in (fields.include or []):
        raise invalid_value("top_logprobs", f'top_logprobs: it needs "{LOGPROBS}" in include; add it, or give 0')


def as_chat(body: Body, fields: ResponseFields, history: Sequence[Item]) -> Body:
    """The same request as one for a chat completion; ApiError 400 for tools of other kinds than functions."""
    wants_logprobs = LOGPROBS in (fields.include or [])
    text_format = fields.text.format if fields.text else None
    chat: dict[str, Any] = {
        "model": fields.model,
        "messages": to_messages(history, fields.instructions),
        "max_tokens": fields.max_output_tokens,
        "stop": fields.stop,
        "stream": fields.stream,
        "response_format": None if text_format is None else chat_format(text_format),
        "truncate": "oldest" if fields.truncation == "auto" else None,
        "tools": [chat_tool(tool, f"tools[{nth}]") for nth, tool in enumerate(fields.tools or [])],
        "tool_choice": chat_tool_choice(fields.tool_choice),
        "parallel_tool_calls": fields.parallel_tool_calls,
        "logprobs": wants_logprobs,
        "top_logprobs": (fields.top_logprobs or 0) if wants_logprobs else None,
    }
    others = {name: value for name, value in body.fields.items() if name not in ResponseFields.__struct_fields__}
    ignored = [f"include: {name}" for name in fields.include or [] if name in WITHOUT_EFFECT]
    return Body({**others, **chat}, [*body.ignored, *ignored])


def chat_format(given: TextFormat) -> dict[str, Any]:
    """OpenAI's older form of it."""
    if given.type != "json_schema":
        return {"type": given.type}
    schema = {"name": given.name, "description": given.description, "schema": given.schema, "strict": given.strict}
    return {"type": "json_schema", "json_schema": schema}


def chat_tool(tool: dict[str, Any], place: str) -> dict[str, Any]:
    """A function in the form of chat requests."""
    if tool.get("type") != "function":
        raise ApiError(400, "unsupported", f"{place}.type: {tool.get('type')!a:.60} does not run here; give functions",
                       f"{place}.type")  # fmt: skip
    return {"type": "function", "function": {name: value for name, value in tool.items() if name != "type"}}


def chat_tool_choice(choice: str | dict[str, Any] | None) -> Any:
    """The choice in the form of chat requests."""
    if not isinstance(choice, dict):
        return choice
    if choice.get("type") != "function":
        raise ApiError(400, "unsupported", f"tool_choice.type: {choice.get('type')!a:.60} is not available; give "
                       "function", "tool_choice.type")  # fmt: skip
    return {"type": "function", "function": {name: value for name, value in choice.items() if name != "type"}}


@contextmanager
def refusals_renamed() -> Iterator[None]:
    """What is refused of the chat request is said in the words of the response's."""
    try:
        yield
    except ApiError as error:
        message, param = error.message.replace('truncate to "oldest"', 'truncation to "auto"'), error.param
        for old, new in RENAMED.items():
            if param is not None and param.startswith(old):
                rest = "" if old == "messages" else param.removeprefix(old)  # turns are counted otherwise than items
                message, param = message.replace(f"{param}:", f"{new}{rest}:"), new + rest
                break
        if param is not None and param.startswith(("tools[", "tool_choice.")):
            message, param = message.replace(".function.", "."), param.replace(".function.", ".")
        raise ApiError(error.status, error.code, message, param, error.retry_after) from error
