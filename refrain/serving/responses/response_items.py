"""The items of a response's input: checked, kept as they are given back, and turned into the turns of a chat."""

import json
import secrets
from collections.abc import Sequence
from typing import Any

from refrain.serving.api import messages
from refrain.serving.api.body import convert
from refrain.serving.api.fields import ContentPart
from refrain.serving.api.response_fields import CallItem, CallOutputItem, MessageItem
from refrain.serving.errors import ApiError, invalid_value

Item = dict[str, Any]


def read_items(given: str | Sequence[Item]) -> list[Item]:
    """The input as items with ids; ApiError 400 for one that a chat has no turn for."""
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    if not given:
        raise invalid_value("input", "input: there is nothing in it; give a text, or items")
    return [read_item(item, f"input[{nth}]") for nth, item in enumerate(given)]


def read_item(item: Item, place: str) -> Item:
    """One item."""
    match item.get("type", "message"):
        case "message":
            message = convert(item, MessageItem, place)
            text = content_text(message.content, f"{place}.content")
            content: Item = {"type": "input_text", "text": text}
            if message.role == "assistant":
                content = {"type": "output_text", "text": text, "annotations": []}
            return {"id": message.id or make_id("msg"), "type": "message", "status": "completed", "role": message.role,
                    "content": [content]}  # fmt: skip
        case "function_call":
            call = convert(item, CallItem, place)
            require_object(call.arguments, f"{place}.arguments")
            return {"id": call.id or make_id("fc"), "type": "function_call", "status": "completed",
                    "call_id": call.call_id, "name": call.name, "arguments": call.arguments}  # fmt: skip
        case "function_call_output":
            output = convert(item, CallOutputItem, place)
            return {"id": output.id or make_id("fco"), "type": "function_call_output", "status": "completed",
                    "call_id": output.call_id, "output": content_text(output.output, f"{place}.output")}  # fmt: skip
    raise ApiError(400, "unsupported", f"{place}.type: {item['type']!a:.60} is not read here; give message, "
                   "function_call or function_call_output", f"{place}.type")  # fmt: skip


def require_object(text: str, place: str) -> None:
    """ApiError 400 unless a text is an object of JSON."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise invalid_value(place, f"{place}: it is not JSON ({error}); give them as they were answered") from error
    if not isinstance(value, dict):
        raise invalid_value(place, f"{place}: it is no object of JSON; give them as they were answered")


def content_text(content: str | list[dict[str, Any]], place: str) -> str:
    """The text of a content; its parts are joined by line breaks."""
    if isinstance(content, str):
        return content
    places = [f"{place}[{nth}]" for nth in range(len(content))]
    parts = [convert(part, ContentPart, at) for part, at in zip(content, places, strict=True)]
    return "\n".join(messages.part_text(part, at) for part, at in zip(parts, places, strict=True))


def make_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(12)}"


def to_messages(items: Sequence[Item], instructions: str | None) -> list[dict[str, Any]]:
    """The turns of a chat; instructions stand in the first system turn, calls in the turn of the words before them."""
    turns: list[dict[str, Any]] = []
    for item in items:
        if item["type"] == "function_call":
            if not turns or turns[-1]["role"] != "assistant":
                turns.append({"role": "assistant", "content": ""})
            function = {"name": item["name"], "arguments": item["arguments"]}
            call = {"id": item["call_id"], "type": "function", "function": function}
            turns[-1].setdefault("tool_calls", []).append(call)
        elif item["type"] == "function_call_output":
            turns.append({"role": "tool", "tool_call_id": item["call_id"], "content": item["output"]})
        else:
            role = "system" if item["role"] == "developer" else item["role"]
            turns.append({"role": role, "content": "\n".join(part["text"] for part in item["content"])})
    if not instructions:
        return turns
    if turns and turns[0]["role"] == "system":
        return [{"role": "system", "content": f"{instructions}\n\n{turns[0]['content']}"}, *turns[1:]]
    return [{"role": "system", "content": instructions}, *turns]


def title_of(items: Sequence[Item], length: int) -> str:
    """The beginning of what was asked last."""
    asked = [item for item in items if item["type"] == "message" and item["role"] == "user"]
    return " ".join(asked[-1]["content"][0]["text"].split())[:length] if asked else ""
