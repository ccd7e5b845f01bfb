"""The shapes of rows: which one a file has, and through it from a raw row to its conversations."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from refrain.data.shapes import conversations as talks
from refrain.data.shapes import squad as passages
from refrain.data.shapes import transcript as transcripts
from refrain.data.shapes import tree as trees
from refrain.data.shapes import votes
from refrain.data.shapes.conversations import Conversation, ParseResult
from refrain.data.shapes.fields import Fields
from refrain.pipeline.schema import Policies


def always(row: Fields) -> bool:
    return True


class Shape(NamedTuple):
    """Rows with the columns `needs`, and perhaps more that say something to the assistant."""

    name: str
    needs: tuple[str, ...]
    parse: Callable[[Fields, Policies], Iterable[ParseResult]]
    uses: tuple[str, ...] = ("system", "id")  # optional columns
    takes: tuple[str, ...] = ("input", "group")  # optional too, but only when `fields` names the column
    fits: Callable[[Fields], bool] = always  # what one of the first rows must hold, where columns are not enough


def names(shape: Shape) -> tuple[str, ...]:
    return shape.needs + shape.uses + shape.takes


def parse_single(parse: Callable[[Fields], Conversation], row: Fields, policies: Policies) -> list[ParseResult]:
    return [parse(row)]


def parse_many(
    parse: Callable[[Fields], Iterable[ParseResult]], row: Fields, policies: Policies
) -> Iterable[ParseResult]:
    return parse(row)


def single(parse: Callable[..., Conversation], *fixed: Any) -> Callable[[Fields, Policies], Iterable[ParseResult]]:
    """A parser of rows that are one conversation each; a partial, so that a shape crosses processes."""
    return partial(parse_single, partial(parse, *fixed))


ASIDE = ("input", "system", "id")


GROUP = ("group",)


REPLIES = ("chosen", "rejected")


SHAPES = (
    Shape("messages", ("messages",), single(talks.from_turns, "messages"), takes=GROUP),
    Shape("sharegpt", ("conversations",), single(talks.from_turns, "conversations"), takes=GROUP),
    Shape("utterances", ("utterances",), single(talks.from_turns, "utterances"), takes=GROUP),
    Shape(
        "alpaca",
        ("instruction", "output"),
        single(talks.question_answer, "instruction", "output"),
        uses=ASIDE,
        takes=GROUP,
    ),
    Shape("qa", ("question", "answer"), single(talks.question_answer, "question", "answer")),
    Shape("completion", ("prompt", "completion"), single(talks.question_answer, "prompt", "completion")),
    Shape("preference", ("prompt", *REPLIES), single(talks.preference, "prompt", *REPLIES)),
    Shape("preference", ("question", *REPLIES), single(talks.preference, "question", *REPLIES)),
    Shape(
        "preference",
        ("instruction", *REPLIES),
        single(talks.preference, "instruction", *REPLIES),
        uses=ASIDE,
        takes=GROUP,
    ),
    Shape("preference", REPLIES, single(talks.two_branches, *REPLIES), takes=GROUP, fits=talks.has_branches),
    Shape("transcript", REPLIES, single(transcripts.preference), takes=GROUP, fits=transcripts.has_speakers),
    *(
        Shape(
            "votes",
            ballot.columns,
            single(votes.from_vote, ballot),
            uses=(*(ballot.scores or ()), "system", "id"),
            takes=GROUP,
        )
        for ballot in votes.VOTE_FORMATS
    ),
    Shape(
        "squad",
        ("context", "question", "answers"),
        single(passages.passage),
        uses=("is_impossible", "system", "id"),
        takes=GROUP,
    ),
    Shape("squad", ("paragraphs",), partial(parse_many, passages.articles), takes=GROUP, fits=passages.has_questions),
    Shape("instances", ("instruction", "instances"), partial(parse_many, talks.instances), takes=GROUP),
    Shape(
        "tree",
        ("message_tree_id", "prompt"),
        trees.conversations_of_tree,
        uses=("system",),
        takes=GROUP,
        fits=trees.has_root,
    ),
)
