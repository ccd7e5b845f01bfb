"""Our own JSONL, both ways: the conversations in data/prepared, in the form that transformers gives to templates."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

ENCODER = json.JSONEncoder(ensure_ascii=False)

Tool = dict[str, Any]  # {"type": "function", "function": {"name", "description", "parameters": a JSON schema}}


class FunctionCall(TypedDict):
    name: str
    arguments: dict[str, Any]


class ToolCall(TypedDict):
    id: NotRequired[str]
    type: Literal["function"]
    function: FunctionCall


class Message(TypedDict):
    role: str  # system, user, assistant or tool
    content: str
    train: NotRequired[Literal[False]]  # of an assistant's turn that is context alone, and not learned
    reasoning_content: NotRequired[str]  # what the assistant thinks before it speaks
    tool_calls: NotRequired[list[ToolCall]]  # what the assistant calls, behind its words
    tool_call_id: NotRequired[str]  # of a tool's turn: the call that it answers
    name: NotRequired[str]  # of a tool's turn: the function that was called


class Row(TypedDict):
    """A conversation; its last message is the assistant's."""

    id: str  # <source>-<file name>:<line>, unique
    messages: list[Message]
    rejected: NotRequired[str]  # a worse last message
    label: NotRequired[bool]  # whether the last message is a good one; nobody says so of most
    own_id: NotRequired[str]  # what the file itself calls the row
    input_from: NotRequired[int]  # the character of the last user message where an input begins, below a blank line
    parent: NotRequired[str]  # the id of the row that it is a variant of
    tools: NotRequired[list[Tool]]  # what the assistant may call
    group: NotRequired[str]  # a name that rows have in common which stand in one split; not in data/prepared


FIELDS_WITHOUT_FLOATS = Row.__annotations__.keys() - {"tools"}


def is_learned(message: Message) -> bool:
    """Whether a turn is the assistant's, and not said to be context alone."""
    return message["role"] == "assistant" and message.get("train", True)


def has_bad_reply(row: Row) -> bool:
    """Whether the row itself says that its last message is a bad one: an example of what not to say."""
    return not row.get("label", True)


def split_bad_replies(rows: list[Row]) -> tuple[list[Row], dict[str, list[str]]]:
    """The rows without those that have a bad reply; their ids by the reason to leave them out, if there are any."""
    bad = [row["id"] for row in rows if has_bad_reply(row)]
    return [row for row in rows if not has_bad_reply(row)], {"bad_reply": bad} if bad else {}


def is_text_alone(message: Message) -> bool:
    """Whether a turn is a text, and nothing that only some templates can write."""
    return message["role"] != "tool" and len(message) == 2 + ("train" in message)


def whole_text(message: Message) -> str:
    """All that a turn says: its thought, its words and, as JSON, its calls; of most turns the words alone."""
    if is_text_alone(message):
        return message["content"]
    calls = [ENCODER.encode(call["function"]) for call in message.get("tool_calls", [])]
    return "\n".join(part for part in (message.get("reasoning_content"), message["content"], *calls) if part)


def list_texts(value: Any) -> Iterator[str]:
    """Every text within objects and lists, their keys too, in no order to rely on."""
    pending = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            pending += [*part, *part.values()]
        elif isinstance(part, list | tuple):
            pending += part


def read_rows(path: Path) -> list[Row]:
    """The rows of a file that `write_rows` wrote."""
    with path.open("rb") as file:  # in binary only \n ends a line: text may hold U+2028
        return [json.loads(line) for line in file]


def write_rows(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """One JSON object a line, UTF-8."""
    with path.open("wb") as file:
        file.writelines(map(to_json_line, rows))


def to_json_line(row: Mapping[str, Any]) -> bytes:
    """A row as it stands in a file, in the bytes of `json.dumps`; msgspec writes other ones for floats alone."""
    if row.keys() <= FIELDS_WITHOUT_FLOATS and all(map(is_text_alone, row.get("messages", ()))):
        return plain_encoder()(row)
    return ENCODER.encode(row).encode() + b"\n"


@cache
def plain_encoder() -> Callable[[Mapping[str, Any]], bytes]:
    """A row without floats to its line."""
    import msgspec  # what only reads rows, or answers a prompt, starts without it

    encode = msgspec.json.Encoder().encode
    return lambda row: msgspec.json.format(encode(row), indent=0) + b"\n"


def read_held_out_rows(folder: Path) -> list[Row]:
    """The rows of the test split; if there are none of the validation split, else of the training split.

    None has a bad reply, unless all have one.
    """
    files = (read_rows(folder / f"{name}.jsonl") for name in ("test", "val", "train"))
    good_rows = ([row for row in rows if not has_bad_reply(row)] for rows in files)
    return next(filter(None, good_rows), None) or read_rows(folder / "train.jsonl")
