"""Chats in one string, with a mark before each turn, such as `Human:` behind a blank line."""

import re

from refrain.data.shapes import fields
from refrain.data.shapes.conversations import Conversation, parse_branches
from refrain.data.shapes.errors import RowError
from refrain.data.shapes.fields import Fields
from refrain.data.shapes.turns import parse_turns

SPEAKER = re.compile(r"(?:\A\s*+|(?:\r?\n){2})(Human|Assistant):[ ]?")  # the one space belongs to the format


MARKS = (  # before a turn, of a chat that is a row of its own
    re.compile(r"(?:\A\s*+|\s*)###[ ](Human|Assistant|System):[ ]?"),
    re.compile(r"(?:\A\s*+|\s*<\|im_end\|>\s*)<\|im_start\|>(system|user|assistant|tool)\r?\n"),
    re.compile(r"(?:\A\s*+|\r?\n)<(human|bot)>:[ ]?"),
    SPEAKER,
)


END = re.compile(r"\s*<\|im_end\|>\s*(?:<\|endoftext\|>|</s>)?\s*\Z")


SIDES = ("chosen", "rejected")


def parse_transcripts(row: Fields) -> Conversation:
    """Two transcripts that are alike but for the last reply."""
    return parse_branches(*SIDES, {side: split_turns(fields.require_text(row, side), side, SPEAKER) for side in SIDES})


def parse_transcript(row: Fields) -> Conversation:
    """One transcript, whatever its marks are."""
    text = fields.require_text(row, "transcript")
    mark = next((mark for mark in MARKS if mark.match(text)), SPEAKER)
    parts = split_turns(END.sub("", text) if mark is MARKS[1] else text, "the text", mark)
    return {"messages": parse_turns({"transcript": parts}, "transcript")}


def split_turns(text: str, name: str, mark: re.Pattern[str]) -> list[Fields]:
    """What stands between the marks, byte for byte; RowError when the text does not begin with one."""
    before, *parts = mark.split(text)
    if before or not parts:
        raise RowError("unknown_role", f"{name} does not begin with Human: or Assistant:")
    return [{"role": speaker, "content": content} for speaker, content in zip(parts[::2], parts[1::2], strict=True)]


def has_speakers(row: Fields) -> bool:
    """Whether both replies begin like a transcript."""
    return all(isinstance(row.get(side), str) and SPEAKER.match(row[side]) for side in SIDES)


def has_marks(row: Fields) -> bool:
    """Whether a text begins like a transcript."""
    text = row.get("transcript")
    return isinstance(text, str) and any(mark.match(text) for mark in MARKS)
