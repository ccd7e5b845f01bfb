"""Values as Hydra's command line reads them, written without Hydra, which what serves does without."""

import re
from typing import Any

PLAIN = re.compile(r"(?!\.\d)[A-Za-z_/.][\w/.-]*", re.ASCII)  # text that needs no quotes, unless it is one of KEYWORDS
KEYWORDS = ("null", "true", "false", "nan", "inf")


def to_hydra(value: Any) -> str:
    """A value as Hydra's command line reads it."""
    if isinstance(value, list):
        return f"[{','.join(map(to_hydra, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{to_hydra(item)}' for key, item in value.items())}}}"
    if isinstance(value, str):
        plain = PLAIN.fullmatch(value) and value.lower() not in KEYWORDS
        return value if plain else quote_text(value)
    return "null" if value is None else str(value)


def quote_text(text: str) -> str:
    """A text between double quotes; a backslash is doubled where it stands before a quote."""
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', text)
    closed = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f'"{closed}"'
