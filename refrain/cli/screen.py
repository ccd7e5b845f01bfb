"""A terminal: colours where they are wanted, and a text of several lines where it is pasted."""

import io
import os
import select
import sys
from contextlib import suppress

from refrain.chat.control_characters import escape_controls

PASTE_GAP = 0.02  # seconds within which the next line of a pasted text is there, and no typed one
DIM, BOLD, PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"


def has_colours() -> bool:
    """Whether stdout is a terminal with colours that its person has not switched off (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and not is_dumb()


def is_dumb() -> bool:
    """Whether the terminal knows no escape sequences."""
    return os.environ.get("TERM", "dumb") == "dumb"


def dim(text: str) -> str:
    """What the program says beside the model."""
    return f"{DIM}{text}{PLAIN}" if has_colours() else text


def show(text: str) -> str:
    """What a model says: as it is for a file or a pipe, and for a terminal without what that would obey."""
    return escape_controls(text) if sys.stdout.isatty() else text


def accept_any_bytes() -> None:
    """A byte on stdin that is no UTF-8 ends no conversation: it is read as U+FFFD."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")


def prepare_input() -> None:
    """Give input() its history and its keys, and let a paste arrive as a whole where the library can."""
    with suppress(ImportError):  # there is none on Windows
        import readline  # imported late, for it may write to the terminal

        if "libedit" not in (readline.__doc__ or "") and not is_dumb():
            readline.parse_and_bind("set enable-bracketed-paste on")


def read_text(prompt: str) -> str:
    """A line that is typed, or all lines of a text that is pasted."""
    lines = [input(f"\x01{BOLD}\x02{prompt}\x01{PLAIN}\x02" if has_colours() else prompt)]
    while has_more():  # lines of a paste that has come line by line; the last may want a key to end it
        lines.append(input())
    return "\n".join(lines)


def has_more() -> bool:
    """Whether the terminal has something to read already."""
    try:
        return bool(select.select([sys.stdin], [], [], PASTE_GAP)[0])
    except (OSError, ValueError):  # Windows selects no terminal
        return False
