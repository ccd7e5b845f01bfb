"""What a shape is: the columns that its rows must have, and how they are parsed."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from refrain.data.shapes.conversations import Conversation, ParseResult
from refrain.data.shapes.fields import Fields
from refrain.pipeline.schema import Policies


def accept_any(row: Fields) -> bool:
    return True


ROWS_TOGETHER = ("group", "split")  # columns that say where a row goes


class Shape(NamedTuple):
    """Rows with the `required` columns, and perhaps more that say something to the assistant."""

    name: str
    required: tuple[str, ...]
    parse: Callable[[Fields, Policies], Iterable[ParseResult]]
    optional: tuple[str, ...] = ("system", "id")
    on_request: tuple[str, ...] = ("input", *ROWS_TOGETHER)  # optional too, only when `fields` names the column
    fits: Callable[[Fields], bool] = accept_any  # what one of the first rows must hold, where columns are not enough
    aliases: dict[str, tuple[str, ...]] = {}  # noqa: RUF012 - other names of columns, those that are likelier first
    outranks: tuple[str, ...] = ()  # shapes that a row does not have when it fits this one
    is_chat: bool = False  # its one column that must be there holds turns, and nothing else says anything


def column_names(shape: Shape) -> tuple[str, ...]:
    return shape.required + shape.optional + shape.on_request


def read_columns(shape: Shape, column_of: dict[str, str]) -> dict[str, str]:
    """Our name for each column that is read, and the column; one that `fields` names has no other use."""
    claimed = claimed_columns(column_of)
    return {name: name for name in (*shape.required, *shape.optional) if name not in claimed} | column_of


def claimed_columns(column_of: dict[str, str]) -> set[str]:
    """The columns that have no other use than the named one; only that of a group or a split keeps its own."""
    return {column for name, column in column_of.items() if name not in ROWS_TOGETHER}


def parse_single(parse: Callable[[Fields], Conversation], row: Fields, policies: Policies) -> list[ParseResult]:
    return [parse(row)]


def parse_many(
    parse: Callable[[Fields], Iterable[ParseResult]], row: Fields, policies: Policies
) -> Iterable[ParseResult]:
    return parse(row)


def single_parser(
    parse: Callable[..., Conversation], *arguments: Any
) -> Callable[[Fields, Policies], Iterable[ParseResult]]:
    """A parser of rows that are one conversation each; a partial, so that a shape crosses processes."""
    return partial(parse_single, partial(parse, *arguments))
