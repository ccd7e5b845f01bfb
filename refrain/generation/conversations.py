"""What is asked from Python: a question or the turns of a conversation, and tools, checked before they are encoded."""

from collections.abc import Iterable, Sequence

from refrain.chat.records import Message, Tool
from refrain.data.shapes.errors import RowError
from refrain.data.shapes.tool_fields import parse_tool_columns
from refrain.data.shapes.turns import parse_turns

Prompt = str | Sequence[Message]  # a question, or the turns of a conversation


def parse_prompt(prompt: Prompt, tools: list[Tool] | None) -> tuple[list[Message], list[Tool]]:
    """The turns and the tools in our own form; ValueError where they ask nothing, or are of no known form."""
    row = {"messages": list_turns(prompt), "tools": tools}
    try:
        return parse_turns(row, "messages"), parse_tool_columns(row, is_chat=True, read_columns=())
    except RowError as error:
        raise ValueError(f"messages: {str(error).replace(' of messages', '')}") from error


def list_turns(prompt: Prompt) -> list[Message]:
    """The turns of a conversation that wants a reply; a text alone is a user's."""
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    turns = list(prompt) if isinstance(prompt, Iterable) and not isinstance(prompt, bytes | dict) else []
    if not turns or not all(isinstance(turn, dict) for turn in turns):
        raise ValueError('messages: they ask nothing; give a text or [{"role": "user", "content": "..."}]')
    if turns[-1].get("role") == "assistant":
        raise ValueError("messages: the assistant has the last word, so nothing is asked; end with a user's message")
    return turns
