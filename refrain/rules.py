"""The rules for a field of a row, and the reasons for which a row breaks one."""

import re
from typing import Any, Literal

Reason = Literal[
    "unreadable",  # the file is broken here
    "not_an_object",  # a row or a turn without named fields
    "missing_field",
    "not_text",  # a number, a list or null where text belongs
    "bad_text",  # a NUL, or half of a surrogate pair
    "empty_text",  # nothing but white space
    "unknown_role",  # neither system, user nor assistant
    "wrong_order",  # a system turn that is not the first, or no user turn
    "no_reply",  # no assistant turn
    "ends_with_user",  # the last turn has no reply
    "same_reply",  # chosen and rejected are equal
]
Fields = dict[str, Any]  # a row under our names
BAD = re.compile("[\0\ud800-\udfff]")


class RowError(Exception):
    """Why a row is no conversation, in one sentence."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def text(row: Fields, name: str, place: str = "the row") -> str:
    """A field that must hold text, without the white space around it."""
    value = present(row, name, place)
    if not isinstance(value, str):
        raise RowError("not_text", f"{name} of {place} is {kind(value)}, not text")
    if BAD.search(value):
        raise RowError("bad_text", f"{name} of {place} holds a NUL or half of a surrogate pair")
    if not value.strip():
        raise RowError("empty_text", f"{name} of {place} is empty")
    return value.strip()


def present(row: Fields, name: str, place: str = "the row") -> Any:
    if name not in row:
        raise RowError("missing_field", f"{place} has no {name}")
    return row[name]


def kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def empty(field: Any) -> bool:
    return field is None or (isinstance(field, str) and not field.strip())
