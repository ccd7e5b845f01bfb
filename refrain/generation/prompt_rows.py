"""A file of prompts, line by line: each is encoded as the model reads it, or set apart with the reason."""

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from refrain.chat import encoding, templates, tool_form
from refrain.chat.encoding import ChatTokenizer
from refrain.chat.records import Message, Tool, is_text_alone
from refrain.chat.written_fields import TemplateFields
from refrain.data.shapes import tool_fields, turns
from refrain.data.shapes.errors import RowError

MOST_KINDS = 1000  # of conversations that are remembered


class Prompt(NamedTuple):
    """What is asked."""

    id: Any  # as the row has it; else the number of its line
    ids: list[int]


class BadLine(NamedTuple):
    """A line that asks nothing, and why."""

    line: int
    reason: str
    text: str


def read_prompts(lines: Iterable[bytes], tokenizer: ChatTokenizer, system: str) -> Iterator[Prompt | BadLine]:
    """One from each line that is not blank: {"prompt": text} or {"messages": [...]}, with id and tools or without."""
    fields = TemplateFields(tokenizer)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = read_row(line)
            yield Prompt(row.get("id", number), encode_row(fields, row, system, str(row.get("id", number))))
        except (ValueError, RowError, RecursionError) as error:
            yield BadLine(number, " ".join(str(error).split()), line.decode("utf-8", "backslashreplace").rstrip("\r\n"))


def read_row(line: bytes) -> dict[str, Any]:
    """The object on a line; ValueError when there is none that can be written again."""
    try:
        row = json.loads(line)
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("a text holds half of a surrogate pair; write the whole character") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON ({error}); write one object a line") from error
    if not isinstance(row, dict):
        raise ValueError(explain_question())
    return row


def encode_row(fields: TemplateFields, row: dict[str, Any], system: str, name: str) -> list[int]:
    """The ids of a prompt; ValueError when the template would leave out its tools, or something else of it."""
    messages, tools = find_messages(row), tool_fields.parse_tool_columns(row, is_chat=True, read_columns=())
    if system and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": system}, *messages]
    return encode_turns(fields, messages, tools, name)


def encode_turns(fields: TemplateFields, messages: list[Message], tools: list[Tool], name: str) -> list[int]:
    """The ids after which a reply to these turns is said; ValueError as in `encode_row`."""
    if tools or not all(map(is_text_alone, messages)):
        messages = tool_form.complete_calls(fields.tokenizer.tool_form, messages, name)
        if fault := fields.find_fault([*messages, templates.REPLY], tools):
            raise ValueError(fault.message)
    elif not writes_roles(fields.tokenizer, tuple(message["role"] for message in messages)):
        raise ValueError("the chat template leaves out what one of these roles says; say it in a user's message")
    return encoding.encode_prompt(fields.tokenizer, messages, tools or None)


def find_messages(row: dict[str, Any]) -> list[Message]:
    """The conversation that wants a reply."""
    match row:
        case {"prompt": str(text)}:
            return [{"role": "user", "content": text}]
        case {"messages": [*_, {"role": "user" | "tool"}]}:
            return turns.parse_turns(row, "messages")
        case {"messages": [*_, {"role": "assistant"}]}:
            raise ValueError("the assistant has the last word, so nothing is asked; end with a user's message")
    raise ValueError(explain_question())


def explain_question() -> str:
    return 'it asks nothing; write {"prompt": "..."} or {"messages": [{"role": "user", "content": "..."}]}'


def writes_roles(tokenizer: ChatTokenizer, roles: tuple[str, ...]) -> bool:
    """Whether the template says what each of the roles says; true for what it refuses, for it says so itself."""
    return template_writes_roles(tokenizer.template, tuple(tokenizer.special_tokens.items()), roles)


@lru_cache(maxsize=MOST_KINDS)
def template_writes_roles(template: str, special_tokens: tuple[tuple[str, str], ...], roles: tuple[str, ...]) -> bool:
    messages: list[Message] = [{"role": role, "content": f"words{turn}."} for turn, role in enumerate(roles)]
    text = tool_form.try_to_render(template, messages, dict(special_tokens))
    return not text or all(message["content"] in text for message in messages)
