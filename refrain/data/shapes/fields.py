"""The rules for a field of a row: text where text belongs, a list where a list does, or a RowError."""

import math
import re
from decimal import Decimal
from typing import Any

from refrain.data.readers.json_lines import parse_value, skip_blank
from refrain.data.readers.raw_rows import WrittenFloat
from refrain.data.shapes.errors import RowError

INVISIBLE = re.compile(  # white space, control characters, and what Unicode calls default ignorable
    r"[\s\x01-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    r"\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]*+\Z"
)


Fields = dict[str, Any]  # a row under our names


def require_text(row: Fields, name: str, place: str = "the row") -> str:
    """A field that must hold text, and not only white space; byte for byte."""
    value = require_string(row, name, place)
    if is_blank(value):
        raise RowError("empty_text", f"{name} of {place} is empty")
    return value


def require_string(row: Fields, name: str, place: str = "the row") -> str:
    """A field that must hold text, perhaps an empty one, byte for byte; or a number, as it is written."""
    value = require(row, name, place)
    text = value if isinstance(value, str) else written_number(value)
    if text is None:
        raise RowError("not_text", f"{name} of {place} is {kind_of(row[name])}, not text")
    if "\0" in text or not (text.isascii() or encodable(text)):
        raise RowError("bad_text", f"{name} of {place} holds a NUL or half of a surrogate pair")
    return text


def encodable(text: str) -> bool:
    """Whether UTF-8 can hold a text; many times faster than a search for surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def written_number(value: Any) -> str | None:
    """A number as it stands in its file; None if it is none."""
    if isinstance(value, WrittenFloat):
        return value.text
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return str(value) if isinstance(value, int) or math.isfinite(value) else None


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


def read_json(value: Any) -> Any:
    """What a text says if it is a list in JSON, as cells of a table hold it; anything else stays what it is."""
    if not isinstance(value, str) or not value.lstrip().startswith("["):
        return value
    decoded, end, error = parse_value(value, skip_blank(value, 0))
    return value if error or skip_blank(value, end) < len(value) else decoded


def kind_of(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def is_blank(text: str) -> bool:
    """Whether nobody sees anything of a text."""
    return INVISIBLE.match(text) is not None


def is_empty(field: Any) -> bool:
    return field is None or (isinstance(field, str) and is_blank(field))
