"""Chats as the programs that serve models take and log them: OpenAI's preferences and batches, Gemini's contents."""

from collections.abc import Iterator
from typing import Any

from refrain.chat.records import Message
from refrain.data.shapes import conversations, fields, tool_fields, turn_keys, turns
from refrain.data.shapes.conversations import Conversation, ParseResult, try_parse
from refrain.data.shapes.errors import RowError
from refrain.data.shapes.fields import Fields

OUTPUTS = ("preferred_output", "non_preferred_output")


def parse_request(value: Any, place: str) -> Conversation:
    """The turns and the tools of a request; RowError when it has more than them."""
    request = fields.require_object(value, place)
    turn_keys.refuse_columns(request, True, ("messages",))
    return with_tools({"messages": turns.parse_turns(request, "messages")}, request)


def with_tools(conversation: Conversation, request: Fields) -> Conversation:
    if tools := tool_fields.parse_tool_columns(request, True, ("messages",)):
        conversation["tools"] = tools
    return conversation


def parse_openai_preference(row: Fields) -> Conversation:
    """A request with a better and a worse output, each a list of one turn."""
    request = fields.require_object(row["input"], "input of the row")
    turn_keys.refuse_columns(request, True, ("messages",))
    outputs = {side: row[side] for side in OUTPUTS}
    prompt = fields.require_list(request, "messages", "input of the row")
    return with_tools(conversations.parse_preference("prompt", *OUTPUTS, {"prompt": prompt, **outputs}), request)


def has_messages(row: Fields) -> bool:
    return isinstance(row.get("input"), dict) and "messages" in row["input"]


def parse_batch(row: Fields) -> Iterator[ParseResult]:
    """A request of a batch, and one conversation for each choice of its response, if it has one."""
    request = parse_request(row["body"], "body of the row")
    own_id = fields.require_text(row, "custom_id")
    if "response" not in row:
        yield {**request, "own_id": own_id}
        return
    response = fields.require_object(row["response"], "response of the row")
    answer = response.get("body", response)
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not choices or not isinstance(choices, list):
        raise RowError("no_reply", "response of the row has no choices")
    for number, choice in enumerate(choices, start=1):
        result = try_parse(parse_choice, request, choice, f"choice {number} of the row")
        yield result if isinstance(result, RowError) else {**result, "own_id": own_id}


def parse_choice(request: Conversation, choice: Any, place: str) -> Conversation:
    message = fields.require(fields.require_object(choice, place), "message", place)
    return {**request, "messages": [*request["messages"], turns.parse_turn(message, f"message of {place}")]}


def has_request(row: Fields) -> bool:
    return isinstance(row.get("body"), dict) and "messages" in row["body"]


def parse_params(row: Fields) -> Conversation:
    """A request of a batch of Anthropic's, and the message that came of it, if there is one."""
    params = fields.require_object(row["params"], "params of the row")
    conversation = parse_request(params, "params of the row")
    if system := params.get("system"):
        parts = system if isinstance(system, list) else [{"text": system}]
        content = turn_keys.join_parts(parts, "system of params of the row")
        conversation["messages"].insert(0, {"role": "system", "content": content})
    result = fields.require_object(row.get("result", {}), "result of the row")
    if message := result.get("message"):
        conversation["messages"] += turns.parse_turns({"message": [message]}, "message")
    elif "result" in row:
        raise RowError("no_reply", f"result of the row is {result.get('type')!a:.40}, with no message")
    return {**conversation, "own_id": fields.require_text(row, "custom_id")}


def has_params(row: Fields) -> bool:
    return isinstance(row.get("params"), dict) and "messages" in row["params"]


def parse_contents(row: Fields) -> Conversation:
    """The contents of a request to Gemini, behind its system instruction."""
    messages = [
        parse_content(value, f"turn {number} of contents")
        for number, value in enumerate(fields.require_list(row, "contents"), start=1)
    ]
    if "system_instruction" in row:
        value = row["system_instruction"]
        instruction = value if isinstance(value, dict) else {"parts": value}
        messages.insert(0, parse_content({**instruction, "role": "system"}, "the system instruction"))
    return {"messages": messages}


def parse_content(value: Any, place: str) -> Message:
    """One turn, of which each part is text."""
    content = dict(fields.require_object(value, place))
    parts = fields.require({"parts": content.pop("parts", None)}, "parts", place)
    if isinstance(parts, list | dict):
        parts = [text_part(part) for part in (parts if isinstance(parts, list) else [parts])]
    return turns.parse_turn({**content, "content": parts}, place)


def text_part(part: Any) -> Any:
    """A part as other formats write it: its type, or the first key that says something beside a text."""
    if not isinstance(part, dict):
        return part
    other = next((key for key, value in part.items() if key != "text" and turn_keys.says_something(value)), "text")
    return {"type": other, **part}


def has_parts(row: Fields) -> bool:
    contents = row.get("contents")
    return isinstance(contents, list) and any(isinstance(turn, dict) and "parts" in turn for turn in contents)
