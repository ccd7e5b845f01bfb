"""Tools that a request offers, and which of them the reply must call."""

import re
from typing import Any, Literal, NamedTuple

import msgspec

from refrain.chat.records import Tool
from refrain.serving.api.body import convert
from refrain.serving.api.fields import ChatFields
from refrain.serving.errors import ApiError, invalid_value

NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")


class ToolFunction(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What a tool is called, does and takes."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolDefinition(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A tool."""

    type: Literal["function"]
    function: ToolFunction


class FunctionName(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    name: str


class NamedChoice(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The one function that must be called."""

    type: Literal["function"]
    function: FunctionName


class OfferedTools(NamedTuple):
    """The tools that the model is told of, and those of them that it must call one of; none where it need not."""

    tools: list[Tool]
    required: list[Tool]
    ignored: list[str]


def parse_tools(fields: ChatFields) -> OfferedTools:
    """The tools of a request; ApiError 400 for one without a meaning, or a choice that there is not."""
    definitions = [convert(each, ToolDefinition, f"tools[{nth}]") for nth, each in enumerate(fields.tools or [])]
    names = [each.function.name for each in definitions]
    for nth, name in enumerate(names):
        place = f"tools[{nth}].function.name"
        if not NAME.fullmatch(name):
            raise invalid_value(place, f"{place}: {name[:64]!a} is no name; give up to 64 of a-z, A-Z, 0-9, _, - and .")
        if name in names[:nth]:
            raise invalid_value(place, f"{place}: {name} is there twice; give each tool a name of its own")
    tools = [write_tool(each.function) for each in definitions]
    required = choose_tools(fields.tool_choice, tools)
    if fields.tool_choice == "none":
        return OfferedTools([], [], [])
    is_forced = bool(required)  # then arguments match their schema in any case
    ignored = [f"tools[{nth}].function.strict" for nth, each in enumerate(definitions) if each.function.strict]
    return OfferedTools(tools, required, [] if is_forced else ignored)


def write_tool(function: ToolFunction) -> Tool:
    """A tool as templates are given it."""
    given = {"description": function.description, "parameters": function.parameters}
    return {
        "type": "function",
        "function": {"name": function.name} | {key: value for key, value in given.items() if value is not None},
    }


def choose_tools(choice: str | dict[str, Any] | None, tools: list[Tool]) -> list[Tool]:
    """The tools of which one must be called."""
    if choice in (None, "auto", "none"):
        return []
    if not tools:
        raise invalid_value("tool_choice", "tool_choice: there are no tools to choose from; give tools")
    if choice == "required":
        return tools
    if isinstance(choice, str):
        raise invalid_value("tool_choice", f"tool_choice: there is no {choice[:40]!a}; give none, auto, required, or "
                            '{"type": "function", "function": {"name": ...}}')  # fmt: skip
    name = convert(choice, NamedChoice, "tool_choice").function.name
    if not (chosen := [tool for tool in tools if tool["function"]["name"] == name]):
        raise invalid_value("tool_choice", f"tool_choice: no tool is called {name[:64]!a}; name one of tools")
    return chosen


def require_readable(is_readable: bool, required: list[Tool]) -> None:
    """ApiError 400 where the template writes calls in no form that can be read back, or forced."""
    if is_readable:
        return
    if required:
        raise ApiError(400, "unsupported", "tool_choice: this model's template writes calls in a form that cannot be "
                       "forced; leave it out", "tool_choice")  # fmt: skip
    raise ApiError(400, "unsupported", "tools: this model's template writes calls in a form that is not read back; "
                   "leave them out", "tools")  # fmt: skip
