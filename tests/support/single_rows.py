"""A row that stands alone in its file, and what it says."""

from collections import Counter
from dataclasses import replace

from refrain.data.cleaning import policies
from refrain.data.readers.raw_rows import RawRow
from refrain.data.shapes import parsing, recognition
from refrain.data.shapes.errors import RowError
from refrain.pipeline.schema import Policies, SourceConfig

DEFAULT = Policies(
    whitespace="keep",
    empty="drop",
    system="keep",
    order="keep",
    unanswered="drop",
    tree="all",
    answers="keep",
    overlong="drop",
    pii=[],
)


def parsed(value, shape=None, tree="all", **fields):
    """Every conversation of a row, and why others are none, before the policies."""
    source, raw = SourceConfig("some/file.json", shape=shape, fields=fields), RawRow(1, value)
    return parsing.parse_row(raw, recognition.recognise_layout(source, [raw]), replace(DEFAULT, tree=tree))


def wanted(conversation, effects=None, **policy):
    """A conversation as policies want it; RowError when they do not."""
    if isinstance(conversation, RowError):
        raise conversation
    return policies.apply_policies(conversation, replace(DEFAULT, **policy), Counter() if effects is None else effects)


def said(value, shape=None, **fields):
    """The one conversation of a row, with the policies that conf/ begins with."""
    (conversation,) = parsed(value, shape, **fields)
    return wanted(conversation)


def talk(*contents):
    return [
        {"role": role, "content": content} for role, content in zip(["user", "assistant"] * 9, contents, strict=False)
    ]


TURNS = talk("Hi", "Hello")
