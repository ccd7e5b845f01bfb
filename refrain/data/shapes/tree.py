"""Trees of messages: each path from the first message to a leaf is a conversation."""

from collections.abc import Iterator
from typing import Any

from refrain.chat.records import Message
from refrain.data.shapes import fields, turns
from refrain.data.shapes.conversations import ParseResult
from refrain.data.shapes.errors import RowError
from refrain.data.shapes.fields import Fields
from refrain.pipeline.schema import Policies

MessagePath = tuple[Any, Message] | None  # what was said before, and the last message


def parse_tree(row: Fields, policies: Policies) -> Iterator[ParseResult]:
    """One conversation per leaf, in the order of the file, or why there is none; deleted messages are left out."""
    root, group = row["prompt"], fields.require_text(row, "message_tree_id")
    if isinstance(root, dict) and root.get("deleted") is True:
        raise RowError("unwanted_path", "the first message is marked as deleted")
    pending: list[tuple[Any, MessagePath, bool]] = [(root, None, True)]  # trees may be deeper than calls
    while pending:
        node, parent_path, is_best = pending.pop()
        try:
            path = (parent_path, parse_message(node))
            next_replies = remaining_replies(node)
        except RowError as error:
            yield error
            continue
        if not next_replies:
            yield path_conversation(node, path, group) if is_best or policies.tree == "all" else not_best_error(node)
        best_reply = min(next_replies, key=reply_rank, default=None)
        pending.extend((reply, path, is_best and reply is best_reply) for reply in reversed(next_replies))


def parse_message(node: Any) -> Message:
    value = fields.require_object(node, "a message")
    place = describe_message(value)
    if isinstance(value.get("message_id"), str):
        fields.require_string(value, "message_id", place)
    return {
        "role": turns.parse_role(value, "role", place),
        "content": fields.require_string(value, "text", place),
    }


def describe_message(node: Fields) -> str:
    id = node.get("message_id")
    return f"message {id!a:.50}" if isinstance(id, str) else "a message"


def remaining_replies(node: Fields) -> list[Any]:
    if node.get("replies") is None:
        return []
    replies = fields.require_list(node, "replies", describe_message(node))
    return [reply for reply in replies if not (isinstance(reply, dict) and reply.get("deleted") is True)]


def reply_rank(reply: Any) -> tuple[bool, float]:
    """Small for what is liked best; what nobody ranked comes last, in the order of the file."""
    rank = reply.get("rank") if isinstance(reply, dict) else None
    return (False, rank) if isinstance(rank, int | float) else (True, 0)


def path_conversation(node: Fields, path: MessagePath, group: str) -> ParseResult:
    messages = []
    while path is not None:
        path, message = path
        messages.append(message)
    messages.reverse()
    if isinstance(node.get("message_id"), str):
        return {"messages": messages, "own_id": node["message_id"], "group": group}
    return {"messages": messages, "group": group}


def not_best_error(node: Fields) -> RowError:
    return RowError("unwanted_path", f"{describe_message(node)} ends a path that is not the best one")


def has_root(row: Fields) -> bool:
    """Whether prompt is the first message of a tree, not a text."""
    return isinstance(row.get("prompt"), dict)
