"""The columns of a row under our names, and what they say beside the turns.

The shapes of rows: which one a file has, and through it from a raw row to its conversations.
"""

from collections.abc import Iterable
from itertools import islice

from refrain.chat.records import Message
from refrain.data.readers.raw_rows import RawRow
from refrain.data.shapes import fields as rules
from refrain.data.shapes.conversations import Conversation, ParseResult
from refrain.data.shapes.errors import RowError
from refrain.data.shapes.fields import Fields
from refrain.data.shapes.registry import SHAPES, Shape, column_names
from refrain.pipeline.schema import Policies, SourceConfig


def rename_columns(value: Fields, needs: tuple[str, ...], uses: tuple[str, ...], fields: dict[str, str]) -> Fields:
    """The columns that a shape needs or uses, under our names, without optional ones that are empty."""
    own = {*needs, *uses} - claimed_columns(fields)
    used = {name: name for name in own} | fields
    row = {name: value[column] for name, column in used.items() if column in value}
    return {name: field for name, field in row.items() if name in needs or not rules.is_empty(field)}


def claimed_columns(fields: dict[str, str]) -> set[str]:
    """The columns that have no other use than the named one; only that of a group keeps its own."""
    return {column for name, column in fields.items() if name != "group"}


def row_extras(row: Fields) -> Conversation:
    """A system turn, the row's own id and its group."""
    system: list[Message] = (
        [{"role": "system", "content": rules.require_text(row, "system")}] if "system" in row else []
    )
    extras: Conversation = {"messages": system}
    if isinstance(row.get("id"), str | int):
        extras["own_id"] = rules.require_text({"id": str(row["id"])}, "id")
    if "group" in row:
        group = row["group"]
        extras["group"] = rules.require_text(
            {"group": str(group) if isinstance(group, int | float) else group}, "group"
        )
    return extras


def with_extras(said: ParseResult, extras: Conversation) -> ParseResult:
    """A conversation and what its row says beside it; a part has its own id, and the group that `fields` names."""
    if isinstance(said, RowError):
        return said
    whole: Conversation = {**extras, **said, "messages": [*extras["messages"], *said["messages"]]}
    if "group" in extras:
        whole["group"] = extras["group"]
    return whole


def recognise_shape(source: SourceConfig, raws: Iterable[RawRow]) -> Shape | None:
    """The one shape that fits the first rows; None when they have no columns."""
    first = list(islice((raw.value for raw in raws if isinstance(raw.value, dict)), 100))
    there = dict.fromkeys(column for value in first for column in value)
    if not there:
        return None
    check_source_config(source, there)
    wanted = [shape for shape in SHAPES if source.shape in (None, shape.name)]
    fitting = [shape for shape in wanted if fits_shape(shape, source, there, first)]
    found = dict.fromkeys(shape.name for shape in fitting)
    if len(found) > 1:
        lines = " or ".join(f"`shape: {name}`" for name in found)
        raise ValueError(f"{source.path}: its rows fit several shapes; write in conf/data beside the path {lines}")
    if not found:
        raise ValueError(f"{source.path}: {no_shape_message(wanted, there)}")
    return fitting[0]


def fits_shape(shape: Shape, source: SourceConfig, there: Iterable[str], first: list[Fields]) -> bool:
    """Whether rows with these columns can be read as a shape, and look like it unless a person says that they do."""
    ours = set(there) - claimed_columns(source.fields) | set(source.fields)
    if not ours.issuperset(shape.required) or not set(column_names(shape)).issuperset(source.fields):
        return False
    rows = (rename_columns(value, shape.required, shape.optional, source.fields) for value in first)
    return source.shape is not None or any(shape.fits(row) for row in rows)


def no_shape_message(wanted: list[Shape], there: Iterable[str]) -> str:
    """Why no shape fits, and what to do."""
    if {"message_id", "parent_id", "message_tree_id", "text", "role"}.issubset(there):
        return (
            "its rows are single messages of trees, which lie apart in the file; name instead the file of trees that is"
            " published beside it (*.trees.jsonl.gz)"
        )
    examples = {shape.name: shape for shape in reversed(wanted)}
    needs = "; ".join(f"{name}: {', '.join(shape.required)}" for name, shape in reversed(examples.items()))
    return (
        f"its columns ({', '.join(there)}) fit no shape ({needs}); beside the path,"
        " write which to use, such as `fields: {question: one_column, answer: other_column}`"
    )


def check_source_config(source: SourceConfig, there: Iterable[str]) -> None:
    """ValueError when the configuration speaks of a shape, a name or a column that does not exist."""
    shapes = dict.fromkeys(shape.name for shape in SHAPES)
    if source.shape is not None and source.shape not in shapes:
        raise ValueError(f"{source.path}: there is no shape {source.shape}; use one of {', '.join(shapes)}")
    ours = dict.fromkeys(name for shape in SHAPES for name in column_names(shape))
    for name, column in source.fields.items():
        if name not in ours:
            raise ValueError(f"{source.path}: fields: {name} is none of our names; use one of {', '.join(ours)}")
        if column not in there:
            raise ValueError(f"{source.path}: fields: {column} is no column; use one of {', '.join(there)}")


def parse_row(raw: RawRow, shape: Shape | None, source: SourceConfig, policies: Policies) -> list[ParseResult]:
    """Every conversation of a row, text as it is, or why there is none; never empty, raises no RowError."""
    try:
        row = require_fields(raw, shape, source.fields)
        extras = row_extras(row)
        said = list(shape.parse(row, policies)) if shape else []
    except RowError as error:
        return [error]
    said = said or [RowError("missing_field", "the row holds no conversation")]
    return [with_extras(each, extras) for each in said]


def require_fields(raw: RawRow, shape: Shape | None, fields: dict[str, str]) -> Fields:
    """The fields of a row under our names, all that the shape needs among them."""
    if raw.error:
        raise RowError("unreadable", f"the row cannot be read: {raw.error}")
    value = rules.require_object(raw.value, "the row")
    if shape is None:
        raise RowError("missing_field", "the row has no fields")
    row = rename_columns(value, shape.required, shape.optional, fields)
    for name in shape.required:
        rules.require(row, name)
    return row
