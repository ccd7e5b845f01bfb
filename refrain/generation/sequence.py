"""A reply as it grows: its tokens, its text, and why it ended."""

from collections import abc
from itertools import cycle, islice

import numpy as np

from refrain.generation import sampling
from refrain.generation.sampling import Sampler, TokenLogprobs
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
        logprobs: int | None = None,
    ) -> None:
        self.prompt_ids = list(prompt_ids)
        self.ids: list[int] = []  # the reply, without what ended it
        self.logprobs: list[TokenLogprobs] = []  # of each id, where they were asked for
        self.finish_reason: str | None = None  # end, stop, length or error
        self.error: ValueError | None = None  # why it could not go on
        self.num_cached_tokens = 0  # of the prompt, which another one had left
        self.text = ""
        self._max_new_tokens, self._stop_ids, self._num_logprobs = max_new_tokens, stop_ids, logprobs
        self._detokenizer, self._sampler = detokenizer, sampler
        self._streamed = 0

    @property
    def max_length(self) -> int:
        """Tokens that it may become, with its prompt."""
        return len(self.prompt_ids) + self._max_new_tokens

    def append_from(self, logits: Logits) -> None:
        """Choose the next token, and find out whether the reply ends with it; what cannot go on ends with its error."""
        try:
            token = self._sampler.sample(logits)
        except ValueError as error:
            self.error = error
            return self.end("error")
        if token in self._stop_ids:
            return self.end("end")
        self.ids.append(token)
        if self._num_logprobs is not None:
            self.logprobs.append(sampling.token_logprobs(logits, token, self._num_logprobs))
        self.text += self._detokenizer.push(token)
        if self._detokenizer.has_stopped:
            return self.end("stop")
        if len(self.ids) >= self._max_new_tokens:
            return self.end("length")
        return None

    def end(self, reason: str) -> None:
        """No more is said, for this reason; text that waited for what might follow comes out."""
        self.text += self._detokenizer.flush()
        self.finish_reason = reason

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


def is_confident(logits: Logits) -> bool:
    """Whether the likeliest token is so far ahead that rounding cannot make it another."""
    second, best = np.partition(logits, -2)[-2:]
    return bool(best - second >= CONFIDENT_MARGIN)
