"""The table of all shapes: by the columns that its rows must have, how each is parsed."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from refrain.data.shapes import conversations, squad, transcript, tree, votes
from refrain.data.shapes.conversations import Conversation, ParseResult
from refrain.data.shapes.fields import Fields
from refrain.data.shapes.turn_keys import LABELS
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


def read_columns(shape: Shape, column_of: dict[str, str]) -> dict[str, str]:
    """Our name for each column that is read, and the column; one that `fields` names has no other use."""
    claimed = claimed_columns(column_of)
    return {name: name for name in (*shape.required, *shape.optional) if name not in claimed} | column_of


def claimed_columns(column_of: dict[str, str]) -> set[str]:
    """The columns that have no other use than the named one; only that of a group keeps its own."""
    return {column for name, column in column_of.items() if name != "group"}


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


CHAT_COLUMNS = ("system", "id", *LABELS)


ANSWER_COLUMNS = (*CHAT_COLUMNS, "history")


INSTRUCTION_COLUMNS = ("input", "system", "id", "history")


GROUP = ("group",)


REPLIES = ("chosen", "rejected")


SHAPES = (
    Shape("messages", ("messages",), single_parser(conversations.parse_chat, "messages"), CHAT_COLUMNS, GROUP),
    Shape(
        "sharegpt", ("conversations",), single_parser(conversations.parse_chat, "conversations"), CHAT_COLUMNS, GROUP
    ),
    Shape("utterances", ("utterances",), single_parser(conversations.parse_chat, "utterances"), CHAT_COLUMNS, GROUP),
    Shape(
        "alpaca",
        ("instruction", "output"),
        single_parser(conversations.parse_question_answer, "instruction", "output"),
        optional=(*INSTRUCTION_COLUMNS, *LABELS),
        on_request=GROUP,
    ),
    *(
        Shape(name, columns, single_parser(conversations.parse_question_answer, *columns), optional=ANSWER_COLUMNS)
        for name, columns in (("qa", ("question", "answer")), ("completion", ("prompt", "completion")))
    ),
    *(
        Shape(
            "preference",
            (prompt, *REPLIES),
            single_parser(conversations.parse_preference, prompt, *REPLIES),
            optional=("system", "id", "history"),
        )
        for prompt in ("prompt", "question")
    ),
    Shape(
        "preference",
        ("instruction", *REPLIES),
        single_parser(conversations.parse_preference, "instruction", *REPLIES),
        optional=INSTRUCTION_COLUMNS,
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
