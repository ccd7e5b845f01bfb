"""The fields of requests that no other server has."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta


class TrainingRowsFields(msgspec.Struct, kw_only=True, frozen=True):
    """A question, and how many rows like it are wanted."""

    text: Annotated[str, Meta(description="A question, as a user would write it.")]
    limit: Annotated[int | None, Meta(description="Rows at most, 1 to 50; 5 for none given.")] = None
    model: Annotated[str | None, Meta(description="Whose training is meant; the default for none.")] = None


Turns = str | list[dict[str, Any]]


class FeedbackFields(msgspec.Struct, kw_only=True, frozen=True):
    """A conversation with the answer that it should have, with a label where it is judged; or a pair of answers."""

    messages: Annotated[
        list[dict[str, Any]] | None, Meta(description="A conversation that ends with the answer to learn.")
    ] = None
    label: Annotated[bool | None, Meta(description="Whether that answer is a good one: a vote.")] = None
    tools: Annotated[list[dict[str, Any]] | None, Meta(description="What the assistant might have called.")] = None
    prompt: Annotated[Turns | None, Meta(description="A question or turns, before a pair of answers.")] = None
    chosen: Annotated[Turns | None, Meta(description="The better answer.")] = None
    rejected: Annotated[Turns | None, Meta(description="The worse answer.")] = None
