"""What is learned of a row: a conversation as ids and labels, and the turns whose words are labelled."""

from collections.abc import Iterator
from typing import NamedTuple

from refrain.chat import templates
from refrain.chat.encoding import ChatTokenizer, Features, encode_conversation
from refrain.chat.records import Message, Row, Tool, is_learned


class Example(NamedTuple):
    """One conversation that is learned from; a preference has two of the same name."""

    row_id: str
    messages: list[Message]
    features: Features
    learned_turns: list[int]  # of the assistant, those that are learned
    tools: list[Tool] | None = None


def encode_row(tokenizer: ChatTokenizer, row: Row, messages: list[Message] | None = None) -> Features:
    """A row, or another of its conversations; a ValueError gives its name, a template's refusal stays one."""
    try:
        return encode_conversation(tokenizer, messages or row["messages"], row.get("tools"))
    except templates.TemplateRefusalError:
        raise
    except ValueError as error:
        raise ValueError(f"row {row['id']}: {error}") from error


def list_conversations(row: Row) -> Iterator[list[Message]]:
    """The conversations that a row stands for: one, or with a rejected reply two that differ in the last."""
    yield row["messages"]
    if "rejected" in row:
        yield [*row["messages"][:-1], {"role": "assistant", "content": row["rejected"]}]


def example_of_all_replies(row: Row, features: Features) -> Example:
    """Every reply of a row is learned, but for those that are context alone."""
    turns = [i for i, message in enumerate(row["messages"]) if is_learned(message)]
    return Example(row["id"], row["messages"], features, turns, row.get("tools"))


def example_of_last_reply(row: Row, messages: list[Message], features: Features) -> Example:
    """The last reply of one conversation of a row alone is learned."""
    return Example(row["id"], messages, features, [len(messages) - 1], row.get("tools"))
