"""Chats as ChatGPT exports them: a tree of messages, of which the branch that was shown last is the conversation."""

from typing import Any

from refrain.data.shapes import fields, turn_keys, turns
from refrain.data.shapes.conversations import Conversation
from refrain.data.shapes.errors import RowError
from refrain.data.shapes.fields import Fields


def has_messages(row: Fields) -> bool:
    """Whether the nodes of a mapping hold messages."""
    nodes = row.get("mapping")
    return isinstance(nodes, dict) and any(isinstance(node, dict) and "message" in node for node in nodes.values())


def parse_export(row: Fields) -> Conversation:
    """The messages from the root to the current node, without those that nobody was shown."""
    nodes = fields.require_object(row["mapping"], "mapping of the row")
    shown = [message for message in map(read_message, branch(nodes, row["current_node"])) if is_shown(message)]
    return {
        "messages": [
            turns.parse_turn(read_turn(message, place), place)
            for number, message in enumerate(shown, start=1)
            for place in [f"message {number} of mapping"]
        ]
    }


def branch(nodes: Fields, last: Any) -> list[Fields]:
    """The nodes from the root to one of them; RowError where they do not lead there."""
    path: list[Fields] = []
    while last is not None:
        if not isinstance(last, str) or last not in nodes or len(path) == len(nodes):
            raise RowError("missing_field", f"mapping of the row has no way to the node {last!a:.60}")
        path.append(fields.require_object(nodes[last], "a node of mapping"))
        last = path[-1].get("parent")
    return path[::-1]


def read_message(node: Fields) -> Fields:
    """The message of a node; that of the root is empty."""
    return {} if node.get("message") is None else fields.require_object(node["message"], "message of a node of mapping")


def is_shown(message: Fields) -> bool:
    """Whether a message says something that was shown: the program keeps hidden ones, and empty ones of the system."""
    metadata, content = message.get("metadata"), message.get("content")
    is_hidden = isinstance(metadata, dict) and metadata.get("is_visually_hidden_from_conversation") is True
    parts = content.get("parts") if isinstance(content, dict) else content
    return bool(message) and not is_hidden and (parts is None or any(map(turn_keys.says_something, parts)))


def read_turn(message: Fields, place: str) -> Fields:
    """A message as a turn of a role and a content; RowError for a call of a tool, an image or a thought."""
    content = fields.require_object(fields.require(message, "content", place), f"content of {place}")
    kind, recipient = content.get("content_type"), message.get("recipient", "all")
    if kind not in ("text", "multimodal_text"):
        raise RowError("more_than_text", f"{place} has content of type {kind!a:.40}; {turn_keys.WAY_OUT}")
    if recipient not in ("all", None):
        raise RowError("more_than_text", f"{place} calls {recipient!a:.40}; {turn_keys.WAY_OUT}")
    weight = {"weight": message["weight"]} if "weight" in message else {}
    author = fields.require_object(fields.require(message, "author", place), f"author of {place}")
    parts = fields.require_list(content, "parts", place)
    return {"role": fields.require(author, "role", place), "content": parts, **weight}
