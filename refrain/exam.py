"""One conversation that is to be learned, held against its row and against the prompt that is asked."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from refrain import chat, placement
from refrain.chat import Chat
from refrain.faults import Fault
from refrain.lessons import Lesson
from refrain.outlines import Outline, outline


class Finding(NamedTuple):
    """About one conversation: the first fault that it has, or what is worth a count."""

    fault: Fault | None
    stripped: bool = False  # the template has dropped white space around a reply
    unknown: bool = False  # the prompt has an unknown token


@dataclass(frozen=True)
class Exam:
    """What the conversations of one training have in common."""

    talk: Chat
    room: int  # tokens that a conversation may have
    unknown: int | None  # the id for what a tokenizer does not know
    outlines: dict[tuple[str, ...], Outline] = field(default_factory=dict)

    @cached_property
    def controls(self) -> frozenset[int]:
        return frozenset(self.talk.vocabulary.special.values()) - {self.unknown}

    def outline(self, lesson: Lesson) -> Outline:
        roles = tuple(message["role"] for message in lesson.messages)
        if roles not in self.outlines:
            self.outlines[roles] = outline(self.talk, roles)
        return self.outlines[roles]


def found(exam: Exam, lesson: Lesson, said: str, asked: list[int]) -> Finding:
    """The first fault of a conversation of which `said` is learned and `asked` is the prompt of the last reply."""
    ids, labels = lesson.features["input_ids"], lesson.features["labels"]
    expected = exam.outline(lesson)
    if len(ids) > 1 and ids[0] == ids[1] in exam.controls:
        return Finding("begin")
    if len(ids) > exam.room:
        return Finding("long")
    if expected.unwritten:
        return Finding("turns")
    if ids == asked[: len(ids)]:
        return Finding("cut")
    fault, stripped = placement.misplaced(
        exam.talk, lesson, said, len(asked) if ids[: len(asked)] == asked else None, expected
    )
    if fault is None and not innocent(exam, lesson, expected):
        fault = "control"
    if fault is None and exam.unknown is not None and exam.unknown in labels:
        fault = "unknown"
    return Finding(fault, stripped, exam.unknown in ids)


def innocent(exam: Exam, lesson: Lesson, expected: Outline) -> bool:
    """Whether all control tokens are the template's own."""
    special = exam.talk.vocabulary.special
    own = [token for token in lesson.features["input_ids"] if token in exam.controls]
    if own == expected.controls:
        return True
    text, typed = chat.written(exam.talk, lesson.messages)
    matches = exam.talk.vocabulary.control.finditer(text)
    return own == [special[match[0]] for match in matches if match.start() not in typed]
