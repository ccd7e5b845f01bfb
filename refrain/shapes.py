"""The shapes of rows: which one a file has, and through it from a raw row to its conversations."""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from refrain import columns, passages, rules, transcripts, trees, votes
from refrain import conversations as talks
from refrain.config import Policies, Source
from refrain.conversations import Conversation, Said
from refrain.raw import RawRow
from refrain.rules import Fields, RowError


def anything(row: Fields) -> bool:
    return True


class Shape(NamedTuple):
    """Rows with the columns `needs`, and perhaps more that say something to the assistant."""

    name: str
    needs: tuple[str, ...]
    parse: Callable[[Fields, Policies], Iterable[Said]]
    uses: tuple[str, ...] = ("system", "id")  # optional columns
    takes: tuple[str, ...] = ("input", "group")  # optional too, but only when `fields` names the column
    fits: Callable[[Fields], bool] = anything  # what one of the first rows must hold, where columns are not enough


def recognised(source: Source, raws: Iterable[RawRow]) -> Shape | None:
    """The one shape that fits the first rows; None when they have no columns."""
    first = list(islice((raw.value for raw in raws if isinstance(raw.value, dict)), 100))
    there = dict.fromkeys(column for value in first for column in value)
    if not there:
        return None
    check_source(source, there)
    wanted = [shape for shape in SHAPES if source.shape in (None, shape.name)]
    fitting = [shape for shape in wanted if fits(shape, source, there, first)]
    found = dict.fromkeys(shape.name for shape in fitting)
    if len(found) > 1:
        lines = " or ".join(f"`shape: {name}`" for name in found)
        raise ValueError(f"{source.path}: its rows fit several shapes; write in conf/data beside the path {lines}")
    if not found:
        raise ValueError(f"{source.path}: {misfit(wanted, there)}")
    return fitting[0]


def fits(shape: Shape, source: Source, there: Iterable[str], first: list[Fields]) -> bool:
    """Whether rows with these columns can be read as a shape, and look like it unless a person says that they do."""
    ours = set(there) - columns.taken(source.fields) | set(source.fields)
    if not ours.issuperset(shape.needs) or not set(names(shape)).issuperset(source.fields):
        return False
    rows = (columns.named(value, shape.needs, shape.uses, source.fields) for value in first)
    return source.shape is not None or any(shape.fits(row) for row in rows)


def names(shape: Shape) -> tuple[str, ...]:
    return shape.needs + shape.uses + shape.takes


def misfit(wanted: list[Shape], there: Iterable[str]) -> str:
    """Why no shape fits, and what to do."""
    if {"message_id", "parent_id", "message_tree_id", "text", "role"}.issubset(there):
        return (
            "its rows are single messages of trees, which lie apart in the file; name instead the file of trees that is"
            " published beside it (*.trees.jsonl.gz)"
        )
    examples = {shape.name: shape for shape in reversed(wanted)}
    needs = "; ".join(f"{name}: {', '.join(shape.needs)}" for name, shape in reversed(examples.items()))
    return (
        f"its columns ({', '.join(there)}) fit no shape ({needs}); beside the path,"
        " write which to use, such as `fields: {question: one_column, answer: other_column}`"
    )


def check_source(source: Source, there: Iterable[str]) -> None:
    """ValueError when the configuration speaks of a shape, a name or a column that does not exist."""
    shapes = dict.fromkeys(shape.name for shape in SHAPES)
    if source.shape is not None and source.shape not in shapes:
        raise ValueError(f"{source.path}: there is no shape {source.shape}; use one of {', '.join(shapes)}")
    ours = dict.fromkeys(name for shape in SHAPES for name in names(shape))
    for name, column in source.fields.items():
        if name not in ours:
            raise ValueError(f"{source.path}: fields: {name} is none of our names; use one of {', '.join(ours)}")
        if column not in there:
            raise ValueError(f"{source.path}: fields: {column} is no column; use one of {', '.join(there)}")


def conversations(raw: RawRow, shape: Shape | None, source: Source, policies: Policies) -> list[Said]:
    """Every conversation of a row, text as it is, or why there is none; never empty, raises no RowError."""
    try:
        row = readable(raw, shape, source.fields)
        extras = columns.beside(row)
        said = list(shape.parse(row, policies)) if shape else []
    except RowError as error:
        return [error]
    said = said or [RowError("missing_field", "the row holds no conversation")]
    return [columns.completed(each, extras) for each in said]


def readable(raw: RawRow, shape: Shape | None, fields: dict[str, str]) -> Fields:
    """The fields of a row under our names, all that the shape needs among them."""
    if raw.error:
        raise RowError("unreadable", f"the row cannot be read: {raw.error}")
    value = rules.fields(raw.value, "the row")
    if shape is None:
        raise RowError("missing_field", "the row has no fields")
    row = columns.named(value, shape.needs, shape.uses, fields)
    for name in shape.needs:
        rules.present(row, name)
    return row


def alone(parse: Callable[[Fields], Conversation], row: Fields, policies: Policies) -> list[Said]:
    return [parse(row)]


def several(parse: Callable[[Fields], Iterable[Said]], row: Fields, policies: Policies) -> Iterable[Said]:
    return parse(row)


def one(parse: Callable[..., Conversation], *fixed: Any) -> Callable[[Fields, Policies], Iterable[Said]]:
    """A parser of rows that are one conversation each; a partial, so that a shape crosses processes."""
    return partial(alone, partial(parse, *fixed))


ASIDE = ("input", "system", "id")
GROUP = ("group",)
REPLIES = ("chosen", "rejected")
SHAPES = (
    Shape("messages", ("messages",), one(talks.chat, "messages"), takes=GROUP),
    Shape("sharegpt", ("conversations",), one(talks.chat, "conversations"), takes=GROUP),
    Shape("utterances", ("utterances",), one(talks.chat, "utterances"), takes=GROUP),
    Shape("alpaca", ("instruction", "output"), one(talks.pair, "instruction", "output"), uses=ASIDE, takes=GROUP),
    Shape("qa", ("question", "answer"), one(talks.pair, "question", "answer")),
    Shape("completion", ("prompt", "completion"), one(talks.pair, "prompt", "completion")),
    Shape("preference", ("prompt", *REPLIES), one(talks.preference, "prompt", *REPLIES)),
    Shape("preference", ("question", *REPLIES), one(talks.preference, "question", *REPLIES)),
    Shape(
        "preference", ("instruction", *REPLIES), one(talks.preference, "instruction", *REPLIES), uses=ASIDE, takes=GROUP
    ),
    Shape("preference", REPLIES, one(talks.branches, *REPLIES), takes=GROUP, fits=talks.has_branches),
    Shape("transcript", REPLIES, one(transcripts.preference), takes=GROUP, fits=transcripts.has_speakers),
    *(
        Shape(
            "votes",
            ballot.columns,
            one(votes.judged, ballot),
            uses=(*(ballot.scores or ()), "system", "id"),
            takes=GROUP,
        )
        for ballot in votes.BALLOTS
    ),
    Shape(
        "squad",
        ("context", "question", "answers"),
        one(passages.passage),
        uses=("is_impossible", "system", "id"),
        takes=GROUP,
    ),
    Shape("squad", ("paragraphs",), partial(several, passages.article), takes=GROUP, fits=passages.has_questions),
    Shape("instances", ("instruction", "instances"), partial(several, talks.instances), takes=GROUP),
    Shape("tree", ("message_tree_id", "prompt"), trees.paths, uses=("system",), takes=GROUP, fits=trees.has_root),
)
