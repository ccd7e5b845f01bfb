"""Chats of texts alone, straight: most files hold no other rows, and in these there is nothing to look for.

A row is read here only if every part of it is of the plainest form: then `parsing.parse_row` would make the same of it,
and `ignored.find_ignored` would find the same. Any other row is for them.
"""

from typing import Any

from refrain.chat.records import Message
from refrain.data.readers.raw_rows import RawRow
from refrain.data.shapes import fields, turn_keys, turns
from refrain.data.shapes.conversations import Conversation
from refrain.data.shapes.fields import Fields
from refrain.data.shapes.layout import Layout
from refrain.data.shapes.tool_fields import CALL_ROLES, TOOL_COLUMNS, TOOL_ROLES

Keys = tuple[str, ...]  # of an object, in its order


USUAL_NAMES = {keys: names for names in turns.USUAL_NAMES for keys in (names, names[::-1])}


TEXT_ROLES = {name: role for name, role in turns.ROLES.items() if name not in TOOL_ROLES | CALL_ROLES}


class PlainChats:
    """Reads the rows of a layout that have a chat, perhaps an id, and else columns that nothing reads or refuses."""

    def __init__(self, layout: Layout | None) -> None:
        columns, name = (layout.columns, layout.shape.required[0]) if layout and layout.shape.is_chat else ({}, "")
        self.chat, self.id = columns.get(name), columns.get("id")
        read_otherwise = {column for other, column in columns.items() if other not in (name, "id")}
        self.looked_at = read_otherwise.union(turn_keys.WRITTEN_COLUMNS, TOOL_COLUMNS)
        self.unread_by_keys: dict[Keys, Keys | None] = {}

    def parse(self, raw: RawRow) -> Conversation | None:
        """The conversation of a row; None for one that has to be looked at more closely."""
        row = raw.value
        if self.chat is None or raw.error or not isinstance(row, dict) or self.unread_columns(tuple(row)) is None:
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

    def find_ignored(self, row: Fields) -> list[str]:
        """The filled columns that nothing reads, of a row that was read here."""
        unread = self.unread_columns(tuple(row)) or ()
        return [column for column in unread if row[column] is False or turn_keys.says_something(row[column])]

    def unread_columns(self, keys: Keys) -> Keys | None:
        """Of a row of these keys, of which a file has few sets; None if it has no chat, or something else is read."""
        if keys not in self.unread_by_keys:
            has_no_more = self.chat in keys and self.looked_at.isdisjoint(keys)
            unread = tuple(key for key in keys if key not in (self.chat, self.id))
            self.unread_by_keys[keys] = unread if has_no_more else None
        return self.unread_by_keys[keys]


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
