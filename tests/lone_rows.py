"""A row that stands alone in its file, and what it says."""

from refrain import shapes
from refrain.config import Source
from refrain.raw import RawRow


def said(value, shape=None, **fields):
    """The conversation of a row that stands alone in its file."""
    source = Source("some/file.json", shape=shape, fields=fields)
    raw = RawRow(1, value)
    return shapes.conversation(raw, shapes.recognised(source, [raw]), fields)


def talk(*contents):
    return [
        {"role": role, "content": content} for role, content in zip(["user", "assistant"] * 9, contents, strict=False)
    ]


TURNS = talk("Hi", "Hello")
