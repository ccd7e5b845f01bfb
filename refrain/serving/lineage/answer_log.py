"""The last answers and what made them, by id: so that each can be explained, and said again. In memory alone."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from refrain.generation.request import GenerationRequest

ANSWER_BYTES, TOKEN_BYTES = 2000, 40  # of the objects around an answer, and of an id in a list


@dataclass(frozen=True)
class Answer:
    """What was said to one request, one text for each choice, and all that decides it."""

    id: str
    created: int
    model: str
    seal: str
    requests: list[GenerationRequest]
    texts: list[str]
    finish_reasons: list[str | None] = field(default_factory=list)
    asked: dict[str, Any] = field(default_factory=dict)  # the request as it came, without what its prompt is made of
    owner: str = ""  # the name of the key that asked
    question: str = ""  # what a user said last

    def num_bytes(self) -> int:
        """What it takes in memory, roughly; choices share their prompt."""
        return (
            ANSWER_BYTES
            + TOKEN_BYTES * len(self.requests[0].prompt_ids)
            + 4 * sum(map(len, [self.question, *self.texts]))
        )


class AnswerLog:
    """The newest answers, as many as have room in so many bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._max_bytes, self.num_bytes = max_bytes, 0

    def __len__(self) -> int:
        return len(self._answers)

    def add(self, answer: Answer) -> None:
        """Keep an answer, and forget the oldest ones where there is no room."""
        if (same := self._answers.pop(answer.id, None)) is not None:
            self.num_bytes -= same.num_bytes()
        self._answers[answer.id] = answer
        self.num_bytes += answer.num_bytes()
        while self.num_bytes > self._max_bytes:
            _, oldest = self._answers.popitem(last=False)
            self.num_bytes -= oldest.num_bytes()

    def find(self, answer_id: str, owner: str = "") -> Answer | None:
        """An answer to this owner; None where it was forgotten, or is of another one."""
        answer = self._answers.get(answer_id)
        return answer if answer is not None and answer.owner == owner else None
