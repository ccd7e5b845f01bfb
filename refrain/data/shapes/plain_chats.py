"""Chats of texts alone, straight: most files hold no other rows, and in these there is nothing to look for.

A row is read here only if every part of it is of the plainest form: then `parsing.parse_row` would make the same of it,
and `ignored.find_ignored` would find nothing. Any other row is for them.
"""

from typing import Any

from refrain.chat.records import Message
from refrain.data.readers.raw_rows import RawRow
from refrain.data.shapes import fields, turns
from refrain.data.shapes.conversations import Conversation
from refrain.data.shapes.layout import Layout
from refrain.data.shapes.tool_fields import CALL_ROLES, TOOL_ROLES

Keys = tuple[str, ...]  # of an object, in its order


USUAL_NAMES = {keys: names for names in turns.USUAL_NAMES for keys in (names, names[::-1])}


TEXT_ROLES = {name: role for name, role in turns.ROLES.items() if name not in TOOL_ROLES | CALL_ROLES}


class PlainChats:
    """Reads the rows of a layout that have a chat and perhaps an id, and no other column."""

    def __init__(self, layout: Layout | None) -> None:
        columns, name = (layout.columns, layout.shape.required[0]) if layout and layout.shape.is_chat else ({}, "")
        self.chat, self.id = columns.get(name), columns.get("id")
        self.other_columns = {column for other, column in columns.items() if other not in (name, "id")}
        self.has_no_more: dict[Keys, bool] = {}  # by the keys of a row, of which a file has few sets

    def parse(self, raw: RawRow) -> Conversation | None:
        """The conversation of a row; None for one that has to be looked at more closely."""
        row = raw.value
        if self.chat is None or raw.error or not isinstance(row, dict) or not self.reads(tuple(row)):
            return None
        messages = parse_turns(row[self.chat])
        if messages is None:
            return None
        if self.id not in row:
            return {"messages": messages}
        own_id = row[self.id]
        if type(own_id) is int or (isinstance(own_id, str) and is_visible(own_id)):
            return {"messages": messages, "own_id": str(own_id)}
        return None

    def reads(self, keys: Keys) -> bool:
        """Whether a row of these keys has a chat and perhaps an id alone."""
        result = self.has_no_more.get(keys)
        if result is None:
            result = self.chat in keys and {self.chat, self.id}.issuperset(keys) and self.other_columns.isdisjoint(keys)
            self.has_no_more[keys] = result
        return result


def is_visible(text: str) -> bool:
    return text.isascii() and text.isprintable() and not text.isspace() and text != ""


def parse_turns(values: Any) -> list[Message] | None:
    """The turns of a chat, each a role and a text under the usual names; None if one of them is anything else."""
    messages: list[Message] = []
    for value in values if isinstance(values, list) else ():
        names = USUAL_NAMES.get(tuple(value)) if isinstance(value, dict) else None
        if names is None:
            return None
        speaker, text = value[names[0]], value[names[1]]
        role = TEXT_ROLES.get(speaker) if isinstance(speaker, str) else None
        if role is None or not isinstance(text, str) or "\0" in text or not (text.isascii() or fields.encodable(text)):
            return None
        messages.append({"role": role, "content": text})
    if not messages or turns.is_empty_system(values[0]):
        return None
    return messages
