"""In which form a chat template takes tool calls and thoughts, found by trying it with marked words.

data/prepared has them in one form, that of transformers. Templates differ on whether arguments are an object or JSON in
a text, on what the content of a turn of calls alone is, on the name of a thought, and on how long the id of a call is.
"""

import hashlib
import re
from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple, cast

from refrain.chat import records, templates
from refrain.chat.records import Message, Tool, ToolCall

NAME, KEY, VALUE = "refrain_name", "refrain_key", "refrain_value"  # of a call to try a template with
THOUGHT_NAMES = ("reasoning_content", "thinking", "reasoning")
SHORT_ID = re.compile(r"[a-zA-Z0-9]{9}")  # what Mistral's templates take
CALL: ToolCall = {"id": "refrain01", "type": "function", "function": {"name": NAME, "arguments": {KEY: VALUE}}}
CALLING: list[Message] = [templates.QUESTION, {"role": "assistant", "content": "", "tool_calls": [CALL]}]
TOOL: Tool = {
    "type": "function",
    "function": {
        "name": NAME,
        "description": KEY,
        "parameters": {
            "type": "object",
            "properties": {KEY: {"type": "string", "description": KEY}},
            "required": [KEY],
        },
    },
}


class ToolForm(NamedTuple):
    """What a template is given in place of what stands in data/prepared."""

    has_json_arguments: bool  # text in place of an object
    has_null_content: bool  # where a turn is calls alone
    thought_name: str
    needs_short_ids: bool  # other ids of calls are refused
    needs_names: bool  # results without the name of their function are refused


def find_form(template: str, special_tokens: dict[str, str]) -> ToolForm:
    """The first form in which a template writes a call; the usual one if it writes none."""
    read_names = templates.read_names(template)
    thought_name = next((name for name in THOUGHT_NAMES if name in read_names), THOUGHT_NAMES[0])

    def render(form: ToolForm, *results: Message, **call: str) -> str:
        calling: Message = {**CALLING[1], "tool_calls": [{**CALL, **call}]}  # type: ignore[typeddict-item]
        return try_to_render(template, adapt_messages(form, [CALLING[0], calling, *results]), special_tokens)

    for has_json_arguments, has_null_content in product((False, True), repeat=2):
        form = ToolForm(has_json_arguments, has_null_content, thought_name, False, False)
        text = render(form)
        if NAME in text and VALUE in text and f"'{VALUE}'" not in text:  # an object of Python's, and no JSON
            nameless: Message = {"role": "tool", "content": VALUE, "tool_call_id": CALL["id"]}
            return form._replace(
                needs_short_ids=not render(form, id="call_refrain_1"),
                needs_names=not render(form, nameless) and bool(render(form, {**nameless, "name": NAME})),
            )
    return ToolForm(False, False, thought_name, False, False)


def try_to_render(
    template: str, messages: Sequence[Message], special_tokens: dict[str, str], tools: Sequence[Tool] | None = None
) -> str:
    """The text of a conversation; empty where the template refuses it."""
    try:
        return templates.render_template(template, messages, special_tokens, tools=tools)
    except templates.TemplateRefusalError:
        return ""


def adapt_messages(form: ToolForm, messages: Sequence[Message]) -> Sequence[Message]:
    """The turns in the form that a template takes."""
    return [message if records.is_text_alone(message) else adapt_message(form, message) for message in messages]


def adapt_message(form: ToolForm, message: Message) -> Message:
    result: dict[str, Any] = {**message}
    if "reasoning_content" in message:
        result[form.thought_name] = result.pop("reasoning_content")
    if "tool_calls" in message and form.has_null_content and not message["content"]:
        result["content"] = None
    if "tool_calls" in message and form.has_json_arguments:
        functions = [call["function"] for call in message["tool_calls"]]
        result["tool_calls"] = [
            {**call, "function": {**function, "arguments": records.ENCODER.encode(function["arguments"])}}
            for call, function in zip(message["tool_calls"], functions, strict=True)
        ]
    return cast(Message, result)


def complete_calls(form: ToolForm, messages: list[Message], row_id: str) -> list[Message]:
    """The turns with what the template does not do without: ids of its form, and names of results."""
    ids = [call.get("id", "") for message in messages for call in message.get("tool_calls", [])]
    answered_ids = [message.get("tool_call_id", "") for message in messages if message["role"] == "tool"]
    needs_ids = form.needs_short_ids and not all(map(SHORT_ID.fullmatch, (*ids, *answered_ids)))
    if not (needs_ids or form.needs_names):
        return messages
    short_ids = (hashlib.sha256(f"{row_id} {nth}".encode()).hexdigest()[:9] for nth in range(len(ids)))
    unanswered: list[tuple[str, ToolCall]] = []  # the calls before a turn, by their ids in the row
    result: list[Message] = []
    for message in messages:
        if calls := message.get("tool_calls"):
            completed: list[ToolCall] = [{**call, "id": next(short_ids)} if needs_ids else call for call in calls]
            unanswered = [(call.get("id", ""), new) for call, new in zip(calls, completed, strict=True)]
            message = {**message, "tool_calls": completed}
        elif message["role"] == "tool" and unanswered:
            named = [pair for pair in unanswered if pair[0] == message.get("tool_call_id", "")]
            answered = (named or unanswered)[0]
            unanswered = [pair for pair in unanswered if pair is not answered]
            message = complete_result(form, message, answered[1])
        result.append(message)
    return result


def complete_result(form: ToolForm, message: Message, call: ToolCall) -> Message:
    """A result with the id of its call, and with its name."""
    result = message.copy()
    if form.needs_short_ids and "id" in call:
        result["tool_call_id"] = call["id"]
    if form.needs_names and "name" not in message:
        result["name"] = call["function"]["name"]
    return result
