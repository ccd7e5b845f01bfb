"""Which layout the rows of a file have: what most of the first rows fit; an odd row decides nothing."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice

from refrain.data.readers.raw_rows import RawRow
from refrain.data.shapes import choices, fields, parsing, split_column, suggestions, turn_rows, verdicts
from refrain.data.shapes.columns import ColumnMap, map_columns, mostly, rename_columns, write_mapping
from refrain.data.shapes.errors import RowError
from refrain.data.shapes.fields import Fields
from refrain.data.shapes.layout import Layout
from refrain.data.shapes.registry import SHAPES
from refrain.data.shapes.shape import Shape, column_names
from refrain.pipeline.schema import Policies, SourceConfig
from refrain.pipeline.validation import POLICIES

FIRST_ROWS = 100  # that are looked at


HasColumn = Callable[[Fields, str], bool]


@dataclass(frozen=True)
class Candidate:
    """A shape with the columns that it would read, and the first rows that fit it, by number."""

    shape: Shape
    column_map: ColumnMap
    rows: set[int]


def recognise_layout(source: SourceConfig, raws: Iterable[RawRow]) -> Layout | None:
    """The one layout of most of the first rows; None when they have no columns, ValueError when none or two fit."""
    rows = (raw.value for raw in raws if isinstance(raw.value, dict))
    first_rows = list(islice(rows, FIRST_ROWS))
    present = dict.fromkeys(column for row in first_rows for column in row)
    if not present:
        return None
    check_source_config(source, present)
    if source.assistant is not None and source.shape is None:
        source = replace(source, shape=turn_rows.NAME)
    if layout := find_layout(source, first_rows, rows):
        if layout.shape.name == turn_rows.NAME:
            turn_rows.check_table(source, layout, first_rows)
        return layout
    can_read = partial(reads_rows, source, first_rows)
    raise ValueError(f"{source.path}: {suggestions.describe_misfit(source, first_rows, rows, can_read)}")


def find_layout(source: SourceConfig, first_rows: list[Fields], other_rows: Iterable[Fields]) -> Layout | None:
    """The one layout of most of the first rows, None when no shape fits."""
    for with_aliases, has_column in STAGES:
        candidates = find_candidates(source, first_rows, with_aliases, has_column)
        if candidates:
            chosen = choose_candidate(source, candidates)
            shape = verdicts.with_verdicts(chosen.shape, source, chain(first_rows, other_rows))
            columns = chosen.column_map.columns
            shape = choices.with_first_number(shape, source, first_rows, columns)
            return make_layout(source, first_rows, shape, columns)
    return None


def conversation_layout(layout: Layout) -> Layout:
    """How the conversations of a table of turns are read, once its rows are grouped."""
    messages = next(shape for shape in SHAPES if shape.name == "messages")
    shared = {name: name for name in turn_rows.SHARED if name in layout.read}
    return Layout(messages, {"messages": "messages", **shared}, splits=layout.splits)


def reads_rows(source: SourceConfig, first_rows: list[Fields], mapping: dict[str, str]) -> bool:
    """Whether `fields` of such a mapping would read most of the first rows."""
    try:
        layout = find_layout(replace(source, fields=mapping), first_rows, ())
    except ValueError:
        return False
    wanted = Policies(**{name: values[0] for name, values in POLICIES.items()}, pii=[])
    results = [parsing.parse_row(RawRow(1, row), layout, wanted) for row in first_rows] if layout else []
    return layout is not None and mostly(results, lambda parts: not all(isinstance(part, RowError) for part in parts))


def is_filled(row: Fields, column: str) -> bool:
    return column in row and not fields.is_empty(row[column]) and row[column] not in ([], {})


def is_present(row: Fields, column: str) -> bool:
    return column in row


def is_elsewhere(row: Fields, column: str) -> bool:
    """A column that some other row has."""
    return True


STAGES = ((False, is_filled), (True, is_filled), (False, is_present), (False, is_elsewhere))


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
    if source.split is not None and "split" in source.fields:
        raise ValueError(f"{source.path}: split and fields: split both say where its rows go; take one of them out")


def find_candidates(
    source: SourceConfig, first_rows: list[Fields], with_aliases: bool, has_column: HasColumn
) -> list[Candidate]:
    """The shapes that some of the first rows fit; a row that fits the better of two does not count for the other."""
    candidates = [
        Candidate(shape, column_map, fitting_rows(source, shape, column_map.columns, first_rows, has_column))
        for shape in SHAPES
        if source.shape in (None, shape.name) and set(column_names(shape)).issuperset(source.fields)
        for column_map in [map_columns(shape, source.fields, first_rows, with_aliases)]
    ]
    for better in [candidate for candidate in candidates if candidate.shape.outranks]:
        for other in [candidate for candidate in candidates if candidate.shape.name in better.shape.outranks]:
            other.rows.difference_update(better.rows)
    return [candidate for candidate in candidates if candidate.rows]


def fitting_rows(
    source: SourceConfig, shape: Shape, columns: dict[str, str], first_rows: list[Fields], has_column: HasColumn
) -> set[int]:
    """The rows that can be read as a shape, and look like it unless a person says that they do."""
    needed = [columns[name] for name in shape.required if name in columns]
    if not {column for row in first_rows for column in row}.issuperset(needed) or len(needed) < len(shape.required):
        return set()
    return {
        number
        for number, row in enumerate(first_rows)
        if all(has_column(row, column) for column in needed)
        and (source.shape is not None or shape.fits(rename_columns(row, shape.required, columns)))
    }


def choose_candidate(source: SourceConfig, candidates: list[Candidate]) -> Candidate:
    """That of more than half of the rows that fit any; ValueError where it is not the only one."""
    rows_of = {
        name: set[int]().union(*(candidate.rows for candidate in candidates if candidate.shape.name == name))
        for name in dict.fromkeys(candidate.shape.name for candidate in candidates)
    }
    row_count = len(set[int]().union(*rows_of.values()))
    leading = [name for name, rows in rows_of.items() if 2 * len(rows) > row_count]
    if not leading:
        counts = ", ".join(f"{len(rows)} {name}" for name, rows in rows_of.items())
        raise ValueError(f"{source.path}: its first rows have several shapes ({counts}), and none is that of most; "
                         "give each shape a file of its own, or write `shape` beside the path")  # fmt: skip
    if len(leading) > 1:
        lines = " or ".join(f"`shape: {name}`" for name in leading)
        raise ValueError(f"{source.path}: its rows fit several shapes; write in conf/data beside the path {lines}")
    chosen = max((one for one in candidates if one.shape.name == leading[0]), key=lambda one: len(one.rows))
    for name, columns in chosen.column_map.rivals.items():
        lines = " or ".join(f"`fields: {write_mapping({name: column})}`" for column in columns)
        raise ValueError(f"{source.path}: {name} may be in several of its columns; write beside the path {lines}")
    return chosen


def make_layout(source: SourceConfig, first_rows: list[Fields], shape: Shape, columns: dict[str, str]) -> Layout:
    """The columns that are read, that of a split among them."""
    present = dict.fromkeys(column for row in first_rows for column in row)
    named = [source.fields["split"]] if "split" in source.fields else []
    if not named and source.split is None:
        named = split_column.list_split_columns(column for column in present if column not in columns.values())
    found = {column: split_column.map_splits(row.get(column) for row in first_rows) for column in named}
    split = next((column for column in named if found[column]), None)
    splits = {} if split is None else found[split]
    if split is not None:
        columns = columns | {"split": split}
    absent = frozenset(columns.values()) - present.keys()
    ignored = tuple(column for column in present if column not in columns.values())
    return Layout(shape, columns, source.fields, absent, ignored, splits)
