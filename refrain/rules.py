"""The rules for a field of a row, and the closed list of reasons why a row is not used."""

from typing import Any, Literal

Reason = Literal[
    "unreadable", "not_an_object", "missing_field", "not_text", "bad_text", "empty_text", "unknown_role", "wrong_order",
    "no_reply", "same_reply", "other_prompt", "wrong_offset", "unknown_label", "contradiction",
    "empty_turn", "system_turn", "role_order", "ends_with_user", "unanswerable", "tie", "unwanted_path", "overlong",
    "duplicate", "exact_leak", "near_leak", "group_leak", "contaminated", "other_answer",
]  # fmt: skip
QUARANTINED: dict[Reason, str] = {  # broken
    "unreadable": "The file is broken here, or holds bytes that are not UTF-8.",
    "not_an_object": "The row, or a part of it that must be a list or have named fields, is something else.",
    "missing_field": "A field that the shape needs is not there, or a list holds nothing.",
    "not_text": "A number, a list or null stands where text belongs.",
    "bad_text": "A text holds a NUL, or half of a surrogate pair.",
    "empty_text": "A question, or the reply to learn from, is nothing but white space.",
    "unknown_role": "A turn is neither the system's, the user's nor the assistant's.",
    "wrong_order": "A system turn is not the first, or there is no user turn.",
    "no_reply": "The assistant says nothing, or more than the one reply that a preference compares.",
    "same_reply": "The better and the worse reply are equal but for white space.",
    "other_prompt": "The better and the worse reply answer different prompts.",
    "wrong_offset": "The answer does not stand in the context where the row says it does.",
    "unknown_label": "A label or a count of votes is none that the shape knows.",
    "contradiction": "Two fields of the row contradict each other, such as a label and the votes.",
}
SET_ASIDE: dict[Reason, str] = {  # whole, but not wanted
    "empty_turn": "A turn before the last reply is empty (`policies.empty`).",
    "system_turn": "There is a system turn (`policies.system`).",
    "role_order": "Two neighbouring turns have one role (`policies.order`).",
    "ends_with_user": "The last turn is the user's, and nobody replies (`policies.unanswered`).",
    "unanswerable": "The question has no answer in its context.",
    "tie": "Neither of two replies is better.",
    "unwanted_path": "The path through a tree of messages is not the best (`policies.tree`), or the first is deleted.",
    "overlong": "The row has more than `max_tokens` tokens (`policies.overlong`).",
}
DUPLICATES: dict[Reason, str] = {  # said by another row
    "duplicate": "An earlier row asks and answers the same.",
    "exact_leak": "The question belongs to a source with another split: test comes before val, val before train.",
    "near_leak": "A training row asks nearly what a row of val or test asks.",
    "group_leak": "A row of the same group stands in another split.",
    "contaminated": "A training row holds a long run of words from a prompt of val or test.",
    "other_answer": "Another row answers the same prompt in another way (`policies.answers`).",
}
REASONS = QUARANTINED | SET_ASIDE | DUPLICATES
Fields = dict[str, Any]  # a row under our names


class RowError(Exception):
    """Why a row is no conversation, in one sentence; crosses processes whole."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(reason, message)  # all arguments, or it cannot be unpickled
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message


def text(row: Fields, name: str, place: str = "the row") -> str:
    """A field that must hold text, and not only white space; byte for byte."""
    value = string(row, name, place)
    if blank(value):
        raise RowError("empty_text", f"{name} of {place} is empty")
    return value


def string(row: Fields, name: str, place: str = "the row") -> str:
    """A field that must hold text, perhaps an empty one; byte for byte."""
    value = present(row, name, place)
    if not isinstance(value, str):
        raise RowError("not_text", f"{name} of {place} is {kind(value)}, not text")
    if "\0" in value or not (value.isascii() or encodable(value)):
        raise RowError("bad_text", f"{name} of {place} holds a NUL or half of a surrogate pair")
    return value


def encodable(text: str) -> bool:
    """Whether UTF-8 can hold a text; many times faster than a search for surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def present(row: Fields, name: str, place: str = "the row") -> Any:
    if name not in row:
        raise RowError("missing_field", f"{place} has no {name}")
    return row[name]


def listed(row: Fields, name: str, place: str = "the row") -> list[Any]:
    """A field that must hold a list, perhaps an empty one."""
    value = present(row, name, place)
    if not isinstance(value, list):
        raise RowError("not_an_object", f"{name} of {place} is {kind(value)}, not a list")
    return value


def fields(value: Any, place: str) -> Fields:
    """A value that must have named fields."""
    if not isinstance(value, dict):
        raise RowError("not_an_object", f"{place} is {kind(value)}, not an object with named fields")
    return value


def kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def blank(text: str) -> bool:
    return not text or text.isspace()


def empty(field: Any) -> bool:
    return field is None or (isinstance(field, str) and blank(field))
