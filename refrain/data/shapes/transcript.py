"""Chats in one string, with `Human:` and `Assistant:` before the turns, each behind a blank line."""

import re

from refrain.data.shapes import fields
from refrain.data.shapes.conversations import Conversation, parse_branches
from refrain.data.shapes.errors import RowError
from refrain.data.shapes.fields import Fields

SPEAKER = re.compile(r"(?:\A\s*+|(?:\r?\n){2})(Human|Assistant):[ ]?")  # the one space belongs to the format


SIDES = ("chosen", "rejected")


def parse_transcripts(row: Fields) -> Conversation:
    """Two transcripts that are alike but for the last reply."""
    return parse_branches(*SIDES, {side: split_turns(fields.require_text(row, side), side) for side in SIDES})


def split_turns(text: str, name: str) -> list[Fields]:
    """What stands between the speakers, byte for byte; RowError when the text does not begin with one."""
    before, *parts = SPEAKER.split(text)
    if before or not parts:
        raise RowError("unknown_role", f"{name} does not begin with Human: or Assistant:")
    return [{"role": speaker, "content": content} for speaker, content in zip(parts[::2], parts[1::2], strict=True)]


def has_speakers(row: Fields) -> bool:
    """Whether both replies begin like a transcript."""
    return all(isinstance(row.get(side), str) and SPEAKER.match(row[side]) for side in SIDES)
