"""Which column of a file holds what a shape reads: by our name, or by another one that people use for it."""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from refrain.data.shapes import fields
from refrain.data.shapes.conversations import is_pairs, is_texts
from refrain.data.shapes.exchanges import is_dialog
from refrain.data.shapes.fields import Fields
from refrain.data.shapes.shape import Shape, claimed_columns, read_columns
from refrain.data.shapes.turn_keys import LABELS

PLAIN_YAML = re.compile(r"(?!(?:y|n|yes|no|on|off|true|false|null)\Z)[A-Za-z_][\w.-]*", re.ASCII | re.IGNORECASE)


PLAIN = re.compile(r"[\W_]+")


ANY_CASE = (
    "system",
    "history",
    "system_instruction",
    "conversation",
    "context",
    *LABELS,
)  # optional names that are found in other writings too


QUESTIONS = frozenset(("instruction", "definition", "question", "query", "prompt", "problem", "user", "human"))


PASSAGES = frozenset(("input", "inputs", "context"))  # the question only where no column is called one


class ColumnMap(NamedTuple):
    """Our name for each column that a shape reads, and the column."""

    columns: dict[str, str]
    rivals: dict[str, list[str]]  # by our name, where several columns may be meant


def plain_name(column: str) -> str:
    """A column without differences of case and punctuation, so that systemPrompt is system_prompt."""
    return PLAIN.sub("", column.lower())


def write_mapping(mapping: dict[str, str]) -> str:
    """A mapping as it stands in a preset and in `data.sources=[...]`."""
    return "{" + ", ".join(f"{name}: {quote(column)}" for name, column in mapping.items()) + "}"


def quote(text: str) -> str:
    return text if PLAIN_YAML.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def map_columns(shape: Shape, named: dict[str, str], first_rows: list[Fields], with_aliases: bool) -> ColumnMap:
    """The columns by the names that a shape has; those that it must have by other names too, if wanted."""
    present = dict.fromkeys(column for row in first_rows for column in row)
    result = read_columns(shape, named)
    rivals: dict[str, list[str]] = {}
    taken = claimed_columns(named) | {column for column in result.values() if column in present}
    missing = [name for name in shape.required if result.get(name) not in present]
    optional = [name for name in (*ANY_CASE, "input") if name not in shape.required and result.get(name) not in present]
    for name in (*(shape.required if missing and with_aliases else missing), *optional):
        candidates = [
            column
            for column in columns_called(other_names(shape, name, with_aliases, bool(named)), present)
            if (column not in taken or column == result.get(name))
            and (column == name or is_usable(shape, name, column, first_rows, present))
        ]
        if candidates and name not in named:
            result[name] = candidates[0]
            taken.add(candidates[0])
        if len(candidates) > 1 and name in shape.required and name not in named:
            rivals[name] = candidates
    return ColumnMap(result, rivals)


def other_names(shape: Shape, name: str, with_aliases: bool, is_mapped: bool) -> tuple[str, ...]:
    """How a column may be called; a person who has mapped columns has said which of them make the prompt."""
    if name in shape.required:
        return (name, *shape.aliases.get(name, ())) if with_aliases else ()
    if name == "input":
        own_name = (name,) if with_aliases or name in shape.optional else ()
        return () if is_mapped else (*own_name, *shape.aliases.get(name, ()))
    return (name, *shape.aliases.get(name, ())) if name in shape.optional else ()


def columns_called(names: Iterable[str], present: Iterable[str]) -> list[str]:
    plain = {column: plain_name(column) for column in present}
    wanted = dict.fromkeys(plain_name(name) for name in names)
    return [column for name in wanted for column in plain if plain[column] == name]


def is_usable(shape: Shape, name: str, column: str, first_rows: list[Fields], present: Iterable[str]) -> bool:
    """Whether a column holds what a name stands for, and no other column is the better one for it."""
    values = [row[column] for row in first_rows if not fields.is_empty(row.get(column))]
    if name in shape.required:
        plain = plain_name(column)
        if plain in PASSAGES and plain != plain_name(name) and QUESTIONS & {plain_name(other) for other in present}:
            return False
        if name in CHATS:
            return mostly(values, is_turns if plain == "turns" else is_chat)
        is_list = name == "instruction" and mostly(values, is_texts)
        return mostly(values, is_text) or mostly(values, is_turns) or is_list
    if name == "input" and plain_name(column) not in PASSAGES:
        return mostly(values, has_words)
    return mostly(values, is_text) or name in ANY_KIND


ANY_KIND = ("history", "system_instruction", *LABELS)  # optional names that texts are not meant by alone


CHATS = ("messages", "conversations", "utterances")


def mostly(values: list[Any], is_kind: Callable[[Any], bool]) -> bool:
    return 2 * sum(map(is_kind, values)) >= len(values)


def is_text(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def is_turns(value: Any) -> bool:
    """Whether a value may be turns of a chat, also as JSON in a text."""
    value = fields.read_json(value)
    return isinstance(value, list) and bool(value) and all(isinstance(turn, dict) for turn in value)


def is_chat(value: Any) -> bool:
    return is_turns(value) or is_dialog(value) or is_pairs(value)


def has_words(value: Any) -> bool:
    """Whether a text may be said by somebody, and is no number, date, link or name of a class."""
    return isinstance(value, str) and len(value.split()) > 1


def rename_columns(value: Fields, required: tuple[str, ...], columns: dict[str, str]) -> Fields:
    """The columns that are read, under our names, without optional ones that are empty."""
    row = {name: value[column] for name, column in columns.items() if column in value}
    return {name: field for name, field in row.items() if name in required or not is_unset(field)}


def is_unset(value: Any) -> bool:
    """Whether an optional column says nothing."""
    return fields.is_empty(value) or value in ([], {})
