"""What a check has found, and what to do about it."""

from typing import Literal, NamedTuple

State = Literal["ok", "note", "stop"]  # as it should be; works, but read the advice; something will fail


class Finding(NamedTuple):
    """One line of the table."""

    name: str
    state: State
    text: str
    advice: str = ""
