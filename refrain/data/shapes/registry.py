"""The shapes of rows: which one a file has, and through it from a raw row to its conversations."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from refrain.data.shapes import conversations as talks
from refrain.data.shapes import squad as passages
from refrain.data.shapes import transcript as transcripts
from refrain.data.shapes import tree as trees
from refrain.data.shapes import votes
from refrain.data.shapes.conversations import Conversation, Said
from refrain.data.shapes.fields import Fields
from refrain.pipeline.schema import Policies


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


def names(shape: Shape) -> tuple[str, ...]:
    return shape.needs + shape.uses + shape.takes


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
