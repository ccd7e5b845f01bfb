"""What is learned of a row: a conversation as ids and labels, and the turns whose words are labelled."""

from collections.abc import Iterator
from typing import NamedTuple

from refrain.chat.encoding import ChatTokenizer, Features
from refrain.chat.encoding import encode_conversation as chat_features
from refrain.chat.records import Message, Row


class Example(NamedTuple):
    """One conversation that is learned from; a preference has two of the same name."""

    name: str  # the id of its row
    messages: list[Message]
    features: Features
    turns: list[int]  # of the assistant, those that are learned


def encode_row(chat: ChatTokenizer, name: str, messages: list[Message]) -> Features:
    """A conversation of the row of that name, which a ValueError gives."""
    try:
        return chat_features(chat, messages)
    except ValueError as error:
        raise ValueError(f"row {name}: {error}") from error


def conversations_of(row: Row) -> Iterator[list[Message]]:
    """The conversations that a row stands for: one, or with a rejected reply two that differ in the last."""
    yield row["messages"]
    if "rejected" in row:
        yield [*row["messages"][:-1], {"role": "assistant", "content": row["rejected"]}]


def from_all_replies(row: Row, features: Features) -> Example:
    """Every reply of a row is learned."""
    turns = [i for i, message in enumerate(row["messages"]) if message["role"] == "assistant"]
    return Example(row["id"], row["messages"], features, turns)


def from_last_reply(name: str, messages: list[Message], features: Features) -> Example:
    """The last reply alone is learned."""
    return Example(name, messages, features, [len(messages) - 1])
