"""Fields of a row that nothing reads: named and counted, so that none is lost unseen."""

from collections.abc import Iterator
from typing import Any

from refrain.data.shapes.fields import Fields
from refrain.data.shapes.registry import Shape, read_columns
from refrain.data.shapes.turn_keys import LABELS, TRAIN_KEYS, read_verdict, says_something

FieldTree = dict[str, Any]  # a field that is read: the fields that are read of each object in it


TURN: FieldTree = {
    **{key: {} for key in ("role", "from", "value", "speaker", "text", "full_text", *TRAIN_KEYS)},
    "content": {"type": {}, "text": {}},
}


ANSWER: FieldTree = {"text": {}, "answer_start": {}}


QUESTION: FieldTree = {"question": {}, "id": {}, "is_impossible": {}, "answers": ANSWER}


NODE: FieldTree = {key: {} for key in ("role", "text", "message_id", "rank", "deleted")}
NODE["replies"] = NODE


OWN_FIELDS: dict[str, dict[str, FieldTree]] = {  # of columns that are neither text nor turns, by shape
    "squad": {"answers": ANSWER, "paragraphs": {"context": {}, "qas": QUESTION}},
    "instances": {"instances": {"input": {}, "output": {}}},
    "tree": {"prompt": NODE},
}


def read_fields(shape: Shape, column_of: dict[str, str]) -> FieldTree:
    """The columns that a shape reads, some under other names, and the fields that it reads of what they hold."""
    own_fields = OWN_FIELDS.get(shape.name, {})
    return {column: own_fields.get(name, TURN) for name, column in read_columns(shape, column_of).items()}


def find_ignored(row: Fields, fields: FieldTree) -> set[str]:
    """The filled fields of a row that are not read, those of objects behind the name of their column."""
    return set(walk_ignored(row, fields))


def walk_ignored(row: Fields, fields: FieldTree) -> Iterator[str]:
    pending = [("", row, fields)]  # trees may be deeper than calls
    while pending:
        prefix, value, known = pending.pop()
        for key, field in value.items():
            nested = known.get(key)
            if nested is None or (key in LABELS and read_verdict(field) is None):
                if says_something(field):
                    yield prefix + key
            elif nested and isinstance(field, list | dict):
                place = prefix if nested is known else f"{prefix}{key}[]."
                pending += [(place, part, nested) for part in as_list(field) if isinstance(part, dict)]


def as_list(field: Any) -> list[Any]:
    return field if isinstance(field, list) else [field]
