"""Lines of JSON without a doubt, read in half the time: msgspec reads no line otherwise than `json_lines`.

But it would keep the last of two equal names, integers of any length and values of any depth without a word, so those
are looked for. A line where they may be, or that it refuses, is for `json_lines`, which says what is wrong.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Any

from refrain.data.readers.raw_rows import MAX_NESTING, read_float

MAX_INTEGER = 1 << 63


find_names = re.compile(rb'"[ \t\r\n]*:').findall  # the end of each name, and perhaps of something in a text


def parse_plain_line(line: bytes) -> Any:
    """The value of a line; None for one that has to be looked at more closely."""
    try:
        value = decoder()(line)
    except (ValueError, RecursionError):
        return None
    return value if count_names(value) == len(find_names(line)) else None  # as many as are written: none stands twice


@cache
def decoder() -> Callable[[bytes], Any]:
    """A line to its value."""
    import msgspec  # what answers a prompt has no such line, and starts without it

    return msgspec.json.Decoder(float_hook=read_float).decode


def count_names(value: Any) -> int:
    """The different names in each object of a value, all together; -1 where it may be deep, or has a long integer."""
    names, containers, parts = 0, 0, [value]
    for part in parts:
        kind = type(part)
        if kind is dict or kind is list:
            containers += 1
            names += len(part) if kind is dict else 0
            parts += part.values() if kind is dict else part
        elif kind is int and not -MAX_INTEGER <= part < MAX_INTEGER:
            return -1
    return names if containers <= MAX_NESTING else -1
