"""One reply as it grows: its tokens, its text, and why it ended."""

from collections import abc
from itertools import cycle, islice

import numpy as np

from refrain.generation import sampling
from refrain.generation.sampling import Logits, Sampler
from refrain.runtime.detokenizer import Detokenizer

DRAFT = 8  # tokens that are guessed at once


PAIR = 2  # tokens that must have come before, for what followed them to be guessed again


SURE = 1.0  # logits between the best and the second best token of a guess that is believed


class Sequence:
    """What is said after a prompt; whoever feeds the model gives it logits until it has a reason to end."""

    def __init__(
        self,
        prompt: abc.Sequence[int],
        limit: int,
        ends: frozenset[int],
        words: Detokenizer,
        sampler: Sampler,
        logprobs: int = 0,
    ) -> None:
        self.prompt = list(prompt)
        self.ids: list[int] = []  # what was said, without what ended it
        self.logprobs: list[list[tuple[int, float]]] = []  # of each id: the likeliest ones, falling
        self.finish_reason: str | None = None  # end, stop or length
        self.text = ""
        self._limit, self._ends, self._words, self._sampler, self._likeliest = limit, ends, words, sampler, logprobs
        self._shown = 0

    def append_from(self, logits: Logits) -> None:
        """Choose the next token, and find out whether the reply ends with it."""
        token = self._sampler.sample(logits)
        if token in self._ends:
            return self._end("end")
        self.ids.append(token)
        if self._likeliest:
            self.logprobs.append(sampling.top_logprobs(logits, self._likeliest))
        self.text += self._words.push(token)
        if self._words.has_stopped:
            return self._end("stop")
        if len(self.ids) >= self._limit:
            return self._end("length")
        return None

    def new_text(self) -> str:
        """The text that has become certain since the last time."""
        begin, self._shown = self._shown, len(self.text)
        return self.text[begin:]

    def draft_tokens(self) -> list[int]:
        """What followed the last tokens when they came before (prompt lookup); nothing where they are new.

        Only where the likeliest token is taken: then a guess can be told right or wrong by its logits.
        """
        said = [*self.prompt, *self.ids]
        if not self._sampler.is_greedy or len(said) <= PAIR:
            return []
        pair = said[-PAIR:]
        for at in range(len(said) - PAIR - 1, -1, -1):
            if said[at : at + PAIR] == pair:
                return list(islice(cycle(said[at + PAIR :]), min(DRAFT, self._limit - len(self.ids) - 1)))
        return []

    def _end(self, reason: str) -> None:
        self.text += self._words.flush()
        self.finish_reason = reason


def is_confident(logits: Logits) -> bool:
    """Whether the likeliest token is so far ahead that rounding cannot make it another."""
    second, best = np.partition(logits, -2)[-2:]
    return bool(best - second >= SURE)
