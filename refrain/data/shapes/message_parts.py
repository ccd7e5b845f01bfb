"""Turns whose content has parts that are calls, results and thoughts, as the programs of Anthropic write them."""

from typing import Any

from refrain.data.shapes.fields import Fields

KINDS = frozenset(("tool_use", "tool_result", "thinking"))  # types of parts that other formats keep beside the content


PART_KEYS = ("type", "text", "id", "name", "input", "tool_use_id", "content", "thinking")  # that are read


def expand_parts(turn: Any) -> list[Any]:
    """The turns that a turn is elsewhere: results first, then its words with its calls and thoughts."""
    content = turn.get("content") if isinstance(turn, dict) else None
    if not isinstance(content, list) or not any(kind_of(part) in KINDS for part in content):
        return [turn]
    results = [result_turn(part) for part in content if kind_of(part) == "tool_result"]
    thoughts = [part.get("thinking") for part in content if kind_of(part) == "thinking"]
    calls = [call_of(part) for part in content if kind_of(part) == "tool_use"]
    words = [part for part in content if kind_of(part) not in KINDS]
    if not words and not calls and not thoughts:
        return results
    spoken: Fields = {**turn, "content": words}
    if calls:
        spoken["tool_calls"] = calls
    if thoughts:
        spoken["reasoning_content"] = "\n".join(text for text in thoughts if isinstance(text, str))
    return [*results, spoken]


def kind_of(part: Any) -> Any:
    kind = part.get("type") if isinstance(part, dict) else None
    return kind if isinstance(kind, str) else None


def call_of(part: Fields) -> Fields:
    function = {"name": part.get("name"), "arguments": part.get("input")}
    return {"id": part.get("id"), "type": "function", "function": function}


def result_turn(part: Fields) -> Fields:
    content = part.get("content")
    return {"role": "tool", "tool_call_id": part.get("tool_use_id"), "content": "" if content is None else content}
