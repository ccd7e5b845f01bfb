"""Tools, their calls and results, and thoughts: from the forms that files have to that of transformers."""

import json
import re
from collections.abc import Collection
from typing import Any, NoReturn

from refrain.chat.records import FunctionCall, Message, Tool, ToolCall, list_texts
from refrain.data.shapes import fields, turn_keys
from refrain.data.shapes.errors import RowError
from refrain.data.shapes.fields import Fields

TOOL_COLUMNS = ("tools", "functions")  # of a row: what the assistant may call
TOOL_ROLES = {"tool", "function", "observation", "ipython", "tool_response", "tool_result", "function_response"}
CALL_ROLES = {"function_call", "tool_call", "tool_calls"}  # the assistant's, with calls as JSON for a text
THOUGHT_KEYS = ("reasoning_content", "reasoning", "thinking")
CALL_KEYS = ("tool_calls", "function_call")
READ_KEYS = {"assistant": {*CALL_KEYS, *THOUGHT_KEYS}, "tool": {"tool_call_id", "name"}}  # of a turn, by its role
DEEPEST = 250  # levels of JSON within a text, as many as a row may have


def add_tool_fields(message: Message, turn: Fields, place: str) -> None:
    """Put into a message what its turn says of calls and thoughts; RowError where that is of no known form."""
    if message["role"] == "assistant":
        if thoughts := [key for key in THOUGHT_KEYS if turn_keys.says_something(turn.get(key))]:
            texts = {fields.require_string(turn, key, place) for key in thoughts}
            if len(texts) > 1:
                raise RowError("contradiction", f"{' and '.join(thoughts)} of {place} differ")
            message["reasoning_content"] = texts.pop()
        calls = [
            call
            for key in CALL_KEYS
            if turn_keys.says_something(turn.get(key))
            for call in parse_calls(turn[key], f"{key} of {place}")
        ]
        if calls:
            message["tool_calls"] = calls
    elif message["role"] == "tool":
        if turn_keys.says_something(turn.get("tool_call_id")):
            message["tool_call_id"] = fields.require_string(turn, "tool_call_id", place)
        if turn_keys.says_something(turn.get("name")):
            message["name"] = fields.require_string(turn, "name", place)


def parse_result(content: Any) -> Any:
    """What a tool gives back as a text: an object or another list than of parts is written as JSON."""
    is_parts = isinstance(content, list) and all(isinstance(part, dict) and "type" in part for part in content)
    if isinstance(content, dict | int | float) or (isinstance(content, list) and not (content and is_parts)):
        return json.dumps(content, ensure_ascii=False)
    return content


def parse_calls(value: Any, place: str) -> list[ToolCall]:
    """One call, or a list of them, as objects or as JSON; RowError for anything else."""
    value = read_json(value, place)
    calls = value if isinstance(value, list) else [value]
    if not calls:
        raise RowError("missing_field", f"{place} holds no call")
    return [parse_call(call, f"call {nth} in {place}") for nth, call in enumerate(calls, 1)]


def parse_call(value: Any, place: str) -> ToolCall:
    """A call of OpenAI's form, or a function and its arguments alone."""
    call = fields.require_object(read_json(value, place), place)
    if (kind := call.get("type") or "function") != "function":
        raise RowError("more_than_text", f"{place} is of type {kind!a:.40}; {turn_keys.WAY_OUT}")
    function = call if call.get("function") is None else fields.require_object(call["function"], place)
    name = fields.require_text(function, "name", place)
    given: Any = next((function[key] for key in ("arguments", "parameters") if function.get(key) is not None), {})
    arguments = {} if given == "" else read_json(given, f"arguments of {place}")
    result: FunctionCall = {"name": name, "arguments": fields.require_object(arguments, f"arguments of {place}")}
    require_sound(result, place)
    if turn_keys.says_something(call.get("id")):
        return {"id": fields.require_string(call, "id", place), "type": "function", "function": result}
    return {"type": "function", "function": result}


def parse_call_text(value: Any, tools: Any) -> list[ToolCall]:
    """The calls that a reply is, if it is nothing but calls of these tools, perhaps as JSON in a text."""
    if not isinstance(tools, list) or (isinstance(value, str) and value.lstrip()[:1] not in ("[", "{")):
        return []
    try:
        calls = parse_calls(value, "the reply")
    except RowError:
        return []
    return calls if {call["function"]["name"] for call in calls} <= {tool["function"]["name"] for tool in tools} else []


def parse_tool_columns(row: Fields, is_chat: bool, read_columns: Collection[str]) -> list[Tool]:
    """What the columns of a row say of tools; beside a question a text that is no JSON may be metadata."""
    return [
        tool
        for column in TOOL_COLUMNS
        if column in row and column not in read_columns and says_tools(row[column], is_chat)
        for tool in parse_tools(row[column], f"{column} of the row")
    ]


def drop_unset(row: Fields) -> Fields:
    """A row of a table without the nulls in its tools and calls: there each has the arguments of all."""
    result = {}
    for column, value in row.items():
        if column in TOOL_COLUMNS:
            value = without_nulls(value)
        elif isinstance(value, list):
            value = [
                {key: without_nulls(field) if key in CALL_KEYS else field for key, field in part.items()}
                if isinstance(part, dict)
                else part
                for part in value
            ]
        result[column] = value
    return result


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(part) for key, part in value.items() if part is not None}
    return [without_nulls(part) for part in value] if isinstance(value, list) else value


def lists_tools(messages: list[Message], tools: list[Tool]) -> bool:
    """Whether a system turn has every tool already, as JSON or as Python writes it."""
    text = "\n".join(message["content"] for message in messages if message["role"] == "system")
    names = [re.escape(tool["function"]["name"]) for tool in tools]
    return bool(text) and all(re.search(rf"""["']name["']:\s*["']{name}["']""", text) for name in names)


def says_tools(value: Any, is_chat: bool) -> bool:
    return turn_keys.says_something(value) and (is_chat or not turn_keys.is_plain_text(value))


def parse_tools(value: Any, place: str) -> list[Tool]:
    value = read_json(value, place)
    parts = value if isinstance(value, list) else [value]
    return [parse_tool(part, f"tool {nth} in {place}") for nth, part in enumerate(parts, 1)]


def parse_tool(value: Any, place: str) -> Tool:
    """A tool of OpenAI's form; its schema may stand alone."""
    tool = fields.require_object(read_json(value, place), place)
    if (kind := tool.get("type") or "function") != "function":
        raise RowError("more_than_text", f"{place} is of type {kind!a:.40}; {turn_keys.WAY_OUT}")
    schema = tool.get("function")
    if schema is None:
        schema = {key: part for key, part in tool.items() if key not in ("type", "function")}
        if "input_schema" in schema and "parameters" not in schema:  # as Anthropic calls them
            schema["parameters"] = schema.pop("input_schema")
    name = fields.require_text(fields.require_object(schema, place), "name", place)  # a number may be one
    require_sound(schema, place)
    return {"type": "function", "function": {**schema, "name": name}}


def read_json(value: Any, place: str) -> Any:
    """A value, parsed where it is a text."""
    if not isinstance(value, str):
        return value
    try:
        result = json.loads(value, parse_constant=refuse_constant)
    except ValueError as error:
        raise RowError("not_an_object", f"{place} is no JSON: {error}") from error
    except RecursionError:
        result = None
    if result is None or count_levels(result) > DEEPEST:
        raise RowError("not_an_object", f"{place} is null, or nested deeper than {DEEPEST} levels")
    return result


def count_levels(value: Any) -> int:
    """How deep objects and lists lie within each other."""
    levels, parts = 0, [value]
    while parts := [part for whole in parts for part in list_parts(whole)]:
        levels += 1
    return levels


def list_parts(value: Any) -> Collection[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON's")


def require_sound(value: Any, place: str) -> None:
    """RowError when a text within holds what no text may."""
    if any("\0" in text or not fields.encodable(text) for text in list_texts(value)):
        raise RowError("bad_text", f"{place} holds a NUL or half of a surrogate pair")


def join_calls(messages: list[Message], is_call: list[bool]) -> list[Message]:
    """The turns, with those that are calls alone as a part of the assistant's turn before them."""
    if not any(is_call):
        return messages
    result: list[Message] = []
    for message, is_joined in zip(messages, is_call, strict=True):
        before = result[-1] if result else message
        if is_joined and before["role"] == "assistant" and before is not message:
            if ("train" in before) != ("train" in message):
                raise RowError("contradiction", "only one part of a turn that has words and calls is to be learned")
            result[-1] = {**before, "tool_calls": [*before.get("tool_calls", []), *message["tool_calls"]]}
        else:
            result.append(message)
    return result
