"""Our own JSONL, both ways: the conversations in data/prepared."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

ENCODER = json.JSONEncoder(ensure_ascii=False)


class Message(TypedDict):
    role: str  # system, user or assistant
    content: str
    train: NotRequired[Literal[False]]  # of an assistant's turn that is context alone, and not learned


class Row(TypedDict):
    """A conversation; its last message is the assistant's."""

    id: str  # <source>-<file name>:<line>, unique
    messages: list[Message]
    rejected: NotRequired[str]  # a worse last message
    own_id: NotRequired[str]  # what the file itself calls the row
    input_from: NotRequired[int]  # the character of the last user message where an input begins, below a blank line
    parent: NotRequired[str]  # the id of the row that it is a variant of


def is_learned(message: Message) -> bool:
    """Whether a turn is the assistant's, and not said to be context alone."""
    return message["role"] == "assistant" and message.get("train", True)


def read_rows(path: Path) -> list[Row]:
    """The rows of a file that `write_rows` wrote."""
    with path.open("rb") as file:  # in binary only \n ends a line: text may hold U+2028
        return [json.loads(line) for line in file]


def write_rows(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """One JSON object a line, UTF-8."""
    with path.open("wb") as file:
        file.writelines(map(to_json_line, rows))


def to_json_line(row: Mapping[str, object]) -> bytes:
    """A row as it stands in a file."""
    return ENCODER.encode(row).encode() + b"\n"


def read_held_out_rows(folder: Path) -> list[Row]:
    """The rows of the test split; if there are none of the validation split, else of the training split."""
    return next(rows for name in ("test", "val", "train") if (rows := read_rows(folder / f"{name}.jsonl")))
