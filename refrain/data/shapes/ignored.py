"""Fields of a row that nothing reads: named and counted, so that none is lost unseen."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from refrain.data.shapes.choices import LETTERS
from refrain.data.shapes.exchanges import EXCHANGE_KEYS, pair_of
from refrain.data.shapes.fields import Fields
from refrain.data.shapes.layout import Layout
from refrain.data.shapes.message_parts import PART_KEYS
from refrain.data.shapes.tool_fields import READ_KEYS, TOOL_COLUMNS, TOOL_ROLES
from refrain.data.shapes.turn_keys import LABELS, TRAIN_KEYS, is_plain_text, plain_key, read_verdict, says_something
from refrain.data.shapes.turns import OTHER_CONTENTS, SPEAKERS


@dataclass(frozen=True)
class ReadFields:
    """The names that are read of an object, and what is read of the objects that some of its fields hold."""

    names: frozenset[str]
    nested: dict[str, "ReadFields"] = field(default_factory=dict)
    is_turn: bool = False  # whether keys that say if it is learned are read, in every spelling
    label: str | None = None  # column that is read where it is true or false, and may name a class elsewhere
    each: "ReadFields | None" = None  # what is read of each value of an object whose keys are ids


def read_names(*names: str, is_turn: bool = False, **nested: ReadFields) -> ReadFields:
    return ReadFields(frozenset((*names, *nested)), nested, is_turn)


TURN = read_names(*SPEAKERS, *OTHER_CONTENTS[1:], "full_text", *READ_KEYS["assistant"],
                  *READ_KEYS["tool"], *TRAIN_KEYS, is_turn=True, content=read_names(*PART_KEYS))  # fmt: skip


REQUEST = read_names(*TOOL_COLUMNS, messages=TURN)


CHOICES = read_names("index", message=TURN)


CONTENT = read_names("role", parts=read_names("text"))


PART = read_names("type", "text")


CHOICE = read_names("text", "label", *LETTERS)


ANSWER = read_names("text", "answer_start")


PARAGRAPH = read_names("context", qas=read_names("question", "id", "is_impossible", answers=ANSWER))


NODE = read_names("role", "text", "message_id", "rank", "deleted", "replies")
NODE.nested["replies"] = NODE


MESSAGE_STATE = ("id", "create_time", "update_time", "status", "end_turn", "metadata", "channel")


MESSAGE = read_names(*MESSAGE_STATE, "author", "weight", "recipient", content=read_names("content_type", "parts"))


OWN_FIELDS: dict[str, dict[str, ReadFields]] = {  # of columns that are neither text nor turns, by shape
    "squad": {"answers": ANSWER, "paragraphs": PARAGRAPH},
    "instances": {"instances": read_names("input", "output")},
    "tree": {"prompt": NODE},
    "openai_preference": {"input": REQUEST},
    "openai_batch": {"body": REQUEST, "response": read_names(choices=CHOICES, body=read_names(choices=CHOICES))},
    "anthropic_batch": {
        "params": read_names("system", *TOOL_COLUMNS, messages=TURN),
        "result": read_names("type", message=TURN),
    },
    "chatgpt": {
        "mapping": ReadFields(frozenset(), each=read_names("id", "parent", "children", message=MESSAGE)),
        "current_node": read_names(),
    },
    "gemini": {"contents": CONTENT, "system_instruction": CONTENT},
    "choices": dict.fromkeys(("choices", "options", "endings"), CHOICE),
    "question_lists": {"answers": read_names("input_text", "text")},
}


def read_fields(layout: Layout) -> ReadFields:
    """The columns that are read, some under other names, and the fields that are read of what they hold."""
    own_fields, columns = {"system": PART} | OWN_FIELDS.get(layout.shape.name, {}), layout.columns
    nested = {column: own_fields.get(name, TURN) for name, column in columns.items() if name not in ("id", *LABELS)}
    label = columns.get("label") if "label" in layout.shape.optional and "label" not in layout.named else None
    return ReadFields(frozenset(columns.values()), nested, label=label)


def find_ignored(row: Fields, fields: ReadFields) -> set[str]:
    """The filled fields of a row that are not read, those of objects behind the name of their column."""
    label = fields.label
    unread_labels = {label} if label is not None and not is_read_label(row.get(label)) else set()
    found = unread_labels.union(walk_ignored(row, fields))
    return found and found - {column for column in TOOL_COLUMNS if not is_plain_text(row.get(column))}


def is_read_label(value: Any) -> bool:
    return read_verdict(value) is not None or not says_something(value)


def walk_ignored(row: Fields, fields: ReadFields) -> Iterator[str]:
    pending = [("", row, fields)]  # trees may be deeper than calls
    while pending:
        prefix, value, read = pending.pop()
        if read.each is not None:
            pending += [(prefix, part, read.each) for part in value.values() if isinstance(part, dict)]
            continue
        if not value.keys() <= read.names:
            names = read.names | EXCHANGE_KEYS if read.is_turn and pair_of(value) else read.names
            yield from (
                prefix + key
                for key, field in value.items()
                if key not in names and (field is False or says_something(field))
                if not (read.is_turn and plain_key(key) in TRAIN_KEYS)
            )
        for key, nested in read.nested.items():
            inner = value.get(key)
            if key == "content" and value.get("role") in TOOL_ROLES:  # all of what a tool gives back is read
                continue
            if isinstance(inner, list | dict):
                place = prefix if nested is read else f"{prefix}{key}[]."
                parts = inner if isinstance(inner, list) else [inner]
                pending += [(place, part, nested) for part in parts if isinstance(part, dict)]
