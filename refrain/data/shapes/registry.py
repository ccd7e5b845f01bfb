"""The shapes of rows: which one a file has, and through it from a raw row to its conversations."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from refrain.data.shapes import conversations, squad, transcript, tree, votes
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
    Shape("messages", ("messages",), single(conversations.from_turns, "messages"), takes=GROUP),
    Shape("sharegpt", ("conversations",), single(conversations.from_turns, "conversations"), takes=GROUP),
    Shape("utterances", ("utterances",), single(conversations.from_turns, "utterances"), takes=GROUP),
    Shape(
        "alpaca",
        ("instruction", "output"),
        single(conversations.question_answer, "instruction", "output"),
        uses=ASIDE,
        takes=GROUP,
    ),
    Shape("qa", ("question", "answer"), single(conversations.question_answer, "question", "answer")),
    Shape("completion", ("prompt", "completion"), single(conversations.question_answer, "prompt", "completion")),
    Shape("preference", ("prompt", *REPLIES), single(conversations.preference, "prompt", *REPLIES)),
    Shape("preference", ("question", *REPLIES), single(conversations.preference, "question", *REPLIES)),
    Shape(
        "preference",
        ("instruction", *REPLIES),
        single(conversations.preference, "instruction", *REPLIES),
        uses=ASIDE,
        takes=GROUP,
    ),
    Shape(
        "preference",
        REPLIES,
        single(conversations.two_branches, *REPLIES),
        takes=GROUP,
        fits=conversations.has_branches,
    ),
    Shape("transcript", REPLIES, single(transcript.preference), takes=GROUP, fits=transcript.has_speakers),
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
        single(squad.passage),
        uses=("is_impossible", "system", "id"),
        takes=GROUP,
    ),
    Shape("squad", ("paragraphs",), partial(parse_many, squad.articles), takes=GROUP, fits=squad.has_questions),
    Shape("instances", ("instruction", "instances"), partial(parse_many, conversations.instances), takes=GROUP),
    Shape(
        "tree",
        ("message_tree_id", "prompt"),
        tree.conversations_of_tree,
        uses=("system",),
        takes=GROUP,
        fits=tree.has_root,
    ),
)
