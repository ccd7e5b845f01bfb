"""The last answers and what made them, by id: so that each can be explained, and said again."""

from collections import OrderedDict
from dataclasses import dataclass

from refrain.generation.request import GenerationRequest

MOST_ANSWERS = 1000


@dataclass(frozen=True)
class Answer:
    """What was said to one request, one text for each choice, and all that decides it."""

    id: str
    created: int
    model: str
    seal: str
    requests: list[GenerationRequest]
    texts: list[str]


class AnswerLog:
    """The newest answers, in memory."""

    def __init__(self) -> None:
        self._answers: OrderedDict[str, Answer] = OrderedDict()

    def add(self, answer: Answer) -> None:
        """Keep an answer, and forget the oldest where there are too many."""
        self._answers[answer.id] = answer
        if len(self._answers) > MOST_ANSWERS:
            self._answers.popitem(last=False)

    def find(self, answer_id: str) -> Answer | None:
        return self._answers.get(answer_id)
