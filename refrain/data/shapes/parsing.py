"""Which shape the rows of a file have, and through it from a raw row, its columns under our names, to conversations."""

from collections.abc import Iterable
from itertools import islice

from refrain.chat.records import Message
from refrain.data.readers.raw_rows import RawRow
from refrain.data.shapes import fields, turn_keys, turns
from refrain.data.shapes.conversations import Conversation, ParseResult
from refrain.data.shapes.errors import RowError
from refrain.data.shapes.fields import Fields
from refrain.data.shapes.registry import SHAPES, Shape, claimed_columns, column_names, read_columns
from refrain.pipeline.schema import Policies, SourceConfig


def recognise_shape(source: SourceConfig, raws: Iterable[RawRow]) -> Shape | None:
    """The one shape that fits the first rows; None when they have no columns."""
    first_values = list(islice((raw.value for raw in raws if isinstance(raw.value, dict)), 100))
    columns = dict.fromkeys(column for value in first_values for column in value)
    if not columns:
        return None
    check_source_config(source, columns)
    allowed = [shape for shape in SHAPES if source.shape in (None, shape.name)]
    fitting = [shape for shape in allowed if fits_shape(shape, source, columns, first_values)]
    names = dict.fromkeys(shape.name for shape in fitting)
    if len(names) > 1:
        lines = " or ".join(f"`shape: {name}`" for name in names)
        raise ValueError(f"{source.path}: its rows fit several shapes; write in conf/data beside the path {lines}")
    if not names:
        raise ValueError(f"{source.path}: {no_shape_message(allowed, columns)}")
    return fitting[0]


def check_source_config(source: SourceConfig, columns: Iterable[str]) -> None:
    """ValueError when the configuration speaks of a shape, a name or a column that does not exist."""
    shapes = dict.fromkeys(shape.name for shape in SHAPES)
    if source.shape is not None and source.shape not in shapes:
        raise ValueError(f"{source.path}: there is no shape {source.shape}; use one of {', '.join(shapes)}")
    known_names = dict.fromkeys(name for shape in SHAPES for name in column_names(shape))
    for name, column in source.fields.items():
        if name not in known_names:
            raise ValueError(f"{source.path}: fields: {name} is none of our names; use one of {', '.join(known_names)}")
        if column not in columns:
            raise ValueError(f"{source.path}: fields: {column} is no column; use one of {', '.join(columns)}")


def fits_shape(shape: Shape, source: SourceConfig, columns: Iterable[str], first_values: list[Fields]) -> bool:
    """Whether rows with these columns can be read as a shape, and look like it unless a person says that they do."""
    names = set(columns) - claimed_columns(source.fields) | set(source.fields)
    if not names.issuperset(shape.required) or not set(column_names(shape)).issuperset(source.fields):
        return False
    rows = (rename_columns(value, shape.required, read_columns(shape, source.fields)) for value in first_values)
    return source.shape is not None or any(shape.fits(row) for row in rows)


def no_shape_message(allowed: list[Shape], columns: Iterable[str]) -> str:
    """Why no shape fits, and what to do."""
    if {"message_id", "parent_id", "message_tree_id", "text", "role"}.issubset(columns):
        return (
            "its rows are single messages of trees, which lie apart in the file; name instead the file of trees that is"
            " published beside it (*.trees.jsonl.gz)"
        )
    examples = {shape.name: shape for shape in reversed(allowed)}
    needs = "; ".join(f"{name}: {', '.join(shape.required)}" for name, shape in reversed(examples.items()))
    return (
        f"its columns ({', '.join(columns)}) fit no shape ({needs}); beside the path,"
        " write which to use, such as `fields: {question: one_column, answer: other_column}`"
    )


def parse_row(raw: RawRow, shape: Shape | None, source: SourceConfig, policies: Policies) -> list[ParseResult]:
    """Every conversation of a row, text as it is, or why there is none; never empty, raises no RowError."""
    try:
        row = require_fields(raw, shape, source.fields)
        extras = row_extras(row, shape.optional if shape else (), source.fields)
        results = list(shape.parse(row, policies)) if shape else []
    except RowError as error:
        return [error]
    results = results or [RowError("missing_field", "the row holds no conversation")]
    return [with_extras(result, extras) for result in results]


def require_fields(raw: RawRow, shape: Shape | None, column_of: dict[str, str]) -> Fields:
    """The fields of a row under our names, all that the shape needs among them."""
    if raw.error:
        raise RowError("unreadable", f"the row cannot be read: {raw.error}")
    value = fields.require_object(raw.value, "the row")
    if shape is None:
        raise RowError("missing_field", "the row has no fields")
    columns = read_columns(shape, column_of)
    row = rename_columns(value, shape.required, columns)
    for name in shape.required:
        fields.require(row, name)
    is_chat = any(isinstance(row[name], list) for name in shape.required)
    turn_keys.refuse_columns(value, is_chat, columns.values())
    return row


def rename_columns(value: Fields, required: tuple[str, ...], columns: dict[str, str]) -> Fields:
    """The columns that are read, under our names, without optional ones that are empty."""
    row = {name: value[column] for name, column in columns.items() if column in value}
    return {name: field for name, field in row.items() if name in required or not fields.is_empty(field)}


def row_extras(row: Fields, optional: tuple[str, ...], column_of: dict[str, str]) -> Conversation:
    """A system turn, the turns before the question, whether the reply is a good one, the row's own id and its group."""
    messages: list[Message] = []
    if "system" in row:
        messages.append({"role": "system", "content": fields.require_text(row, "system")})
    if "history" in row and "history" in optional:
        messages += turns.parse_history(row, "history")
    extras: Conversation = {"messages": messages}
    if (label := turn_keys.read_label(row, column_of)) is not None:
        extras["label"] = label
    if isinstance(row.get("id"), str | int):
        extras["own_id"] = fields.require_text({"id": str(row["id"])}, "id")
    if "group" in row:
        group, is_number = row["group"], isinstance(row["group"], int | float)
        extras["group"] = fields.require_text({"group": str(group) if is_number else group}, "group")
    return extras


def with_extras(result: ParseResult, extras: Conversation) -> ParseResult:
    """A conversation and what its row says beside it; a part has its own id, and the group that `fields` names."""
    if isinstance(result, RowError):
        return result
    conversation: Conversation = {**extras, **result, "messages": [*extras["messages"], *result["messages"]]}
    if "group" in extras:
        conversation["group"] = extras["group"]
    return conversation
