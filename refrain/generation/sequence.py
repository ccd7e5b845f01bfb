"""A reply as it grows: its tokens, its text, and why it ended."""

from collections import abc
from itertools import cycle, islice

import numpy as np

from refrain.generation import sampling
from refrain.generation.sampling import Sampler
from refrain.runtime.detokenizer import Detokenizer
from refrain.runtime.language_model import Logits

MAX_DRAFT = 8  # tokens of a draft at most
NGRAM = 2  # tokens that must have come before, for what followed them to be drafted
CONFIDENT_MARGIN = 1.0  # logits between the best and the second best token of a draft that is believed


class Sequence:
    """What is said after a prompt; whoever feeds the model gives it logits until it has a reason to end."""

    def __init__(
        self,
        prompt_ids: abc.Sequence[int],
        max_new_tokens: int,
        stop_ids: frozenset[int],
        detokenizer: Detokenizer,
        sampler: Sampler,
        logprobs: int = 0,
    ) -> None:
        self.prompt_ids = list(prompt_ids)
        self.ids: list[int] = []  # the reply, without what ended it
        self.logprobs: list[list[tuple[int, float]]] = []  # of each id: the likeliest ones, falling
        self.finish_reason: str | None = None  # end, stop or length
        self.text = ""
        self._max_new_tokens, self._stop_ids, self._num_logprobs = max_new_tokens, stop_ids, logprobs
        self._detokenizer, self._sampler = detokenizer, sampler
        self._streamed = 0

    def append_from(self, logits: Logits) -> None:
        """Choose the next token, and find out whether the reply ends with it."""
        token = self._sampler.sample(logits)
        if token in self._stop_ids:
            return self._end("end")
        self.ids.append(token)
        if self._num_logprobs:
            self.logprobs.append(sampling.top_logprobs(logits, self._num_logprobs))
        self.text += self._detokenizer.push(token)
        if self._detokenizer.has_stopped:
            return self._end("stop")
        if len(self.ids) >= self._max_new_tokens:
            return self._end("length")
        return None

    def new_text(self) -> str:
        """The text that has become certain since the last time."""
        begin, self._streamed = self._streamed, len(self.text)
        return self.text[begin:]

    def draft_tokens(self) -> list[int]:
        """What followed the last tokens when they came before (prompt lookup); nothing where they are new.

        Only where the likeliest token is taken: then a draft can be told right or wrong by its logits.
        """
        tokens = [*self.prompt_ids, *self.ids]
        if not self._sampler.is_greedy or len(tokens) <= NGRAM:
            return []
        ngram = tokens[-NGRAM:]
        room = self._max_new_tokens - len(self.ids) - 1
        for start in range(len(tokens) - NGRAM - 1, -1, -1):
            if tokens[start : start + NGRAM] == ngram:
                return list(islice(cycle(tokens[start + NGRAM :]), min(MAX_DRAFT, room)))
        return []

    def _end(self, reason: str) -> None:
        self.text += self._detokenizer.flush()
        self.finish_reason = reason


def is_confident(logits: Logits) -> bool:
    """Whether the likeliest token is so far ahead that rounding cannot make it another."""
    second, best = np.partition(logits, -2)[-2:]
    return bool(best - second >= CONFIDENT_MARGIN)
