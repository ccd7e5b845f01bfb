"""The shapes of rows: which one a file has, and through it from a raw row to a conversation."""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from typing import NamedTuple

from refrain import conversations, rules
from refrain.config import Source
from refrain.conversations import Conversation
from refrain.raw import RawRow
from refrain.rules import Fields, RowError


class Shape(NamedTuple):
    """Rows with the columns `needs`, and perhaps more that say something to the assistant."""

    name: str
    needs: tuple[str, ...]
    parse: Callable[[Fields], Conversation]
    uses: tuple[str, ...] = ("system", "id")  # optional columns
    takes: tuple[str, ...] = ("input",)  # optional too, but only when `fields` names the column


def recognised(source: Source, raws: Iterable[RawRow]) -> Shape | None:
    """The one shape that fits the columns of the first rows; None when they have no columns."""
    objects = (raw.value for raw in raws if isinstance(raw.value, dict))
    columns = dict.fromkeys(column for value in islice(objects, 100) for column in value)
    if not columns:
        return None
    check_source(source, columns)
    wanted = [shape for shape in SHAPES if source.shape in (None, shape.name)]
    there = set(columns) - set(source.fields.values()) | set(source.fields)
    fitting = [s for s in wanted if there.issuperset(s.needs) and set(names(s)).issuperset(source.fields)]
    found = dict.fromkeys(shape.name for shape in fitting)
    if len(found) > 1:
        lines = " or ".join(f"`shape: {name}`" for name in found)
        raise ValueError(f"{source.path}: its rows fit several shapes; write in conf/data beside the path {lines}")
    if not found:
        needs = "; ".join(f"{shape.name}: {', '.join(shape.needs)}" for shape in wanted)
        raise ValueError(
            f"{source.path}: its columns ({', '.join(columns)}) fit no shape ({needs}); beside the path,"
            " write which to use, such as `fields: {question: one_column, answer: other_column}`"
        )
    return fitting[0]


def names(shape: Shape) -> tuple[str, ...]:
    return shape.needs + shape.uses + shape.takes


def check_source(source: Source, columns: Iterable[str]) -> None:
    """ValueError when the configuration speaks of a shape, a name or a column that does not exist."""
    shapes = dict.fromkeys(shape.name for shape in SHAPES)
    if source.shape is not None and source.shape not in shapes:
        raise ValueError(f"{source.path}: there is no shape {source.shape}; use one of {', '.join(shapes)}")
    ours = dict.fromkeys(name for shape in SHAPES for name in names(shape))
    for name, column in source.fields.items():
        if name not in ours:
            raise ValueError(f"{source.path}: fields: {name} is none of our names; use one of {', '.join(ours)}")
        if column not in columns:
            raise ValueError(f"{source.path}: fields: {column} is no column; use one of {', '.join(columns)}")


def conversation(raw: RawRow, shape: Shape | None, columns: dict[str, str]) -> Conversation:
    """What a row says, without the white space around each text; RowError when it breaks a rule."""
    if raw.error:
        raise RowError("unreadable", f"the row cannot be read: {raw.error}")
    if not isinstance(raw.value, dict):
        raise RowError("not_an_object", f"the row is {rules.kind(raw.value)}, not an object with named fields")
    if shape is None:
        raise RowError("missing_field", "the row has no fields")
    row = named(raw.value, shape, columns)
    result = shape.parse(row)
    if "system" in row:
        result["messages"].insert(0, {"role": "system", "content": rules.text(row, "system")})
    if isinstance(row.get("id"), str | int):
        result["own_id"] = rules.text({"id": str(row["id"])}, "id")
    conversations.check_order([message["role"] for message in result["messages"]])
    return result


def named(value: Fields, shape: Shape, columns: dict[str, str]) -> Fields:
    """The fields that the shape uses, under our names, without optional ones that are empty."""
    own = {*shape.needs, *shape.uses} - set(columns.values())
    used = {name: name for name in own} | columns
    row = {name: value[column] for name, column in used.items() if column in value}
    return {name: field for name, field in row.items() if name in shape.needs or not rules.empty(field)}


WITH_INPUT = ("input", "system", "id")
SHAPES = (
    Shape("messages", ("messages",), partial(conversations.chat, "messages"), takes=()),
    Shape("sharegpt", ("conversations",), partial(conversations.chat, "conversations"), takes=()),
    Shape("utterances", ("utterances",), partial(conversations.chat, "utterances"), takes=()),
    Shape("alpaca", ("instruction", "output"), partial(conversations.pair, "instruction", "output"), uses=WITH_INPUT),
    Shape("qa", ("question", "answer"), partial(conversations.pair, "question", "answer")),
    Shape("completion", ("prompt", "completion"), partial(conversations.pair, "prompt", "completion")),
    Shape("preference", ("prompt", "chosen", "rejected"), partial(conversations.preference, "prompt")),
    Shape(
        "preference",
        ("instruction", "chosen", "rejected"),
        partial(conversations.preference, "instruction"),
        uses=WITH_INPUT,
    ),
)
