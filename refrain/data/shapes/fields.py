"""The rules for a field of a row: text where text belongs, a list where a list does, or a RowError."""

from typing import Any

from refrain.data.shapes.errors import RowError

INVISIBLE = (
    "\u00ad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff"  # no white space
)


Fields = dict[str, Any]  # a row under our names


def require_text(row: Fields, name: str, place: str = "the row") -> str:
    """A field that must hold text, and not only white space; byte for byte."""
    value = require_string(row, name, place)
    if is_blank(value):
        raise RowError("empty_text", f"{name} of {place} is empty")
    return value


def require_string(row: Fields, name: str, place: str = "the row") -> str:
    """A field that must hold text, perhaps an empty one; byte for byte."""
    value = require(row, name, place)
    if not isinstance(value, str):
        raise RowError("not_text", f"{name} of {place} is {kind_of(value)}, not text")
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


def require(row: Fields, name: str, place: str = "the row") -> Any:
    if name not in row:
        raise RowError("missing_field", f"{place} has no {name}")
    return row[name]


def require_list(row: Fields, name: str, place: str = "the row") -> list[Any]:
    """A field that must hold a list, perhaps an empty one."""
    value = require(row, name, place)
    if not isinstance(value, list):
        raise RowError("not_an_object", f"{name} of {place} is {kind_of(value)}, not a list")
    return value


def require_object(value: Any, place: str) -> Fields:
    """A value that must have named fields."""
    if not isinstance(value, dict):
        raise RowError("not_an_object", f"{place} is {kind_of(value)}, not an object with named fields")
    return value


def kind_of(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def is_blank(text: str) -> bool:
    """Whether nobody sees anything of a text."""
    start = text.lstrip()[:1]
    return not start or (start in INVISIBLE and not "".join(text.split()).strip(INVISIBLE))


def is_empty(field: Any) -> bool:
    return field is None or (isinstance(field, str) and is_blank(field))
