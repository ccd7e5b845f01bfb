"""The turns of a conversation, from OpenAI's form to that of data/prepared, which templates are given."""

from typing import Any, cast

from refrain.chat.records import Message
from refrain.data.shapes import tool_fields
from refrain.data.shapes.errors import RowError
from refrain.serving.api.body import convert, unknown_parameter
from refrain.serving.api.fields import ChatMessage, ContentPart
from refrain.serving.errors import ApiError, invalid_value

ROLES = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool",
    "function": "tool",
}  # fmt: skip
TEXT_PARTS = ("text", "input_text", "output_text")
ANSWERED = ("refusal", "audio", "annotations", "function_call")  # in turns that clients send back as they got them
OTHER_KEYS = {"assistant": ("tool_calls", "reasoning_content"), "tool": ("tool_call_id", "name")}


def parse_messages(given: list[dict[str, Any]]) -> tuple[list[Message], list[str]]:
    """The turns, and the places of what is in them without effect; ApiError 400 for what no template can write."""
    if not given:
        raise invalid_value("messages", 'messages: there is none; give one, as {"role": "user", "content": "..."}')
    ignored: list[str] = []
    return [parse_message(value, f"messages[{nth}]", ignored) for nth, value in enumerate(given)], ignored


def parse_message(given: dict[str, Any], place: str, ignored: list[str]) -> Message:
    """One turn."""
    message = convert(given, ChatMessage, place)
    if (role := ROLES.get(message.role)) is None:
        raise invalid_value(f"{place}.role", f"{place}.role: there is no {message.role[:40]!a}; "
                            "give system, developer, user, assistant or tool")  # fmt: skip
    check_keys(given, role, place, ignored)
    result: dict[str, Any] = {"role": role, "content": parse_content(message, place)}
    if role == "assistant":
        if message.reasoning_content:
            result["reasoning_content"] = message.reasoning_content
        if message.tool_calls:
            result["tool_calls"] = parse_calls(message.tool_calls, f"{place}.tool_calls")
    if role == "tool":
        result |= {key: getattr(message, key) for key in OTHER_KEYS["tool"] if getattr(message, key)}
    return cast(Message, result)


def check_keys(given: dict[str, Any], role: str, place: str, ignored: list[str]) -> None:
    """Say of each further key whether it is ignored; ApiError 400 where it is unknown or would be left out."""
    known = ("role", "content", *OTHER_KEYS.get(role, ()))
    for key, value in given.items():
        if key in known or value in (None, [], {}, ""):
            if key not in (*ChatMessage.__struct_fields__, *ANSWERED):
                raise unknown_parameter(key, set(ChatMessage.__struct_fields__), f"{place}.")
        elif key in ("name", "annotations"):
            ignored.append(f"{place}.{key}")
        elif key in (*ChatMessage.__struct_fields__, *ANSWERED):
            raise ApiError(400, "unsupported", f"{place}.{key}: a turn of the role {role} has none here; "
                           "leave it out", f"{place}.{key}")  # fmt: skip
        else:
            raise unknown_parameter(key, set(ChatMessage.__struct_fields__), f"{place}.")


def parse_content(message: ChatMessage, place: str) -> str:
    """The text of a turn; its parts are joined by line breaks."""
    if isinstance(message.content, list):
        return "\n".join(part_text(part, f"{place}.content[{nth}]") for nth, part in enumerate(message.content))
    if message.content is None and not (message.role == "assistant" and message.tool_calls):
        raise invalid_value(f"{place}.content", f"{place}.content: it is missing; give a string, or parts of text")
    return message.content or ""


def part_text(part: ContentPart, place: str) -> str:
    """What a part says; ApiError 400 for one that is no text."""
    if part.type not in TEXT_PARTS:
        raise ApiError(400, "unsupported", f"{place}.type: the model reads text alone, and this is {part.type[:40]!a}; "
                       "give parts of type text", f"{place}.type")  # fmt: skip
    if part.text is None:
        raise invalid_value(f"{place}.text", f"{place}.text: it is missing; give the text of the part")
    return part.text


def parse_calls(given: list[dict[str, Any]], place: str) -> Any:
    """The calls of a turn, with their arguments as objects."""
    try:
        return tool_fields.parse_calls(given, place)
    except RowError as error:
        raise invalid_value(place, f"{error}; give calls as they were answered") from error
