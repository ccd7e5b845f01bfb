"""The table of all shapes: by the columns that its rows must have, how each is parsed."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from refrain.data.shapes import conversations, squad, transcript, tree, votes
from refrain.data.shapes.conversations import Conversation, ParseResult
from refrain.data.shapes.fields import Fields
from refrain.pipeline.schema import Policies


def accept_any(row: Fields) -> bool:
    return True


class Shape(NamedTuple):
    """Rows with the `required` columns, and perhaps more that say something to the assistant."""

    name: str
    required: tuple[str, ...]
    parse: Callable[[Fields, Policies], Iterable[ParseResult]]
    optional: tuple[str, ...] = ("system", "id")
    on_request: tuple[str, ...] = ("input", "group")  # optional too, only when `fields` names the column
    fits: Callable[[Fields], bool] = accept_any  # what one of the first rows must hold, where columns are not enough


def column_names(shape: Shape) -> tuple[str, ...]:
    return shape.required + shape.optional + shape.on_request


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


EXTRA_COLUMNS = ("input", "system", "id")


GROUP = ("group",)


REPLIES = ("chosen", "rejected")


SHAPES = (
    Shape("messages", ("messages",), single_parser(conversations.parse_chat, "messages"), on_request=GROUP),
    Shape("sharegpt", ("conversations",), single_parser(conversations.parse_chat, "conversations"), on_request=GROUP),
    Shape("utterances", ("utterances",), single_parser(conversations.parse_chat, "utterances"), on_request=GROUP),
    Shape(
        "alpaca",
        ("instruction", "output"),
        single_parser(conversations.parse_question_answer, "instruction", "output"),
        optional=EXTRA_COLUMNS,
        on_request=GROUP,
    ),
    Shape("qa", ("question", "answer"), single_parser(conversations.parse_question_answer, "question", "answer")),
    Shape(
        "completion",
        ("prompt", "completion"),
        single_parser(conversations.parse_question_answer, "prompt", "completion"),
    ),
    Shape("preference", ("prompt", *REPLIES), single_parser(conversations.parse_preference, "prompt", *REPLIES)),
    Shape("preference", ("question", *REPLIES), single_parser(conversations.parse_preference, "question", *REPLIES)),
    Shape(
        "preference",
        ("instruction", *REPLIES),
        single_parser(conversations.parse_preference, "instruction", *REPLIES),
        optional=EXTRA_COLUMNS,
        on_request=GROUP,
    ),
    Shape(
        "preference",
        REPLIES,
        single_parser(conversations.parse_branches, *REPLIES),
        on_request=GROUP,
        fits=conversations.has_branches,
    ),
    Shape(
        "transcript",
        REPLIES,
        single_parser(transcript.parse_transcripts),
        on_request=GROUP,
        fits=transcript.has_speakers,
    ),
    *(
        Shape(
            "votes",
            vote_format.required_columns,
            single_parser(votes.parse_vote, vote_format),
            optional=(*(vote_format.scores or ()), "system", "id"),
            on_request=GROUP,
        )
        for vote_format in votes.VOTE_FORMATS
    ),
    Shape(
        "squad",
        ("context", "question", "answers"),
        single_parser(squad.parse_passage),
        optional=("is_impossible", "system", "id"),
        on_request=GROUP,
    ),
    Shape(
        "squad", ("paragraphs",), partial(parse_many, squad.parse_articles), on_request=GROUP, fits=squad.has_questions
    ),
    Shape(
        "instances", ("instruction", "instances"), partial(parse_many, conversations.parse_instances), on_request=GROUP
    ),
    Shape(
        "tree",
        ("message_tree_id", "prompt"),
        tree.parse_tree,
        optional=("system",),
        on_request=GROUP,
        fits=tree.has_root,
    ),
)
