"""A reply as it grows: its tokens, its text, and why it ended."""

from collections import abc
from dataclasses import dataclass

from refrain.generation import prompt_lookup, sampling
from refrain.generation.prompt_lookup import PromptLookup, StepCosts
from refrain.generation.sampling import Sampler, TokenLogprobs
from refrain.runtime.detokenizer import Detokenizer
from refrain.runtime.language_model import Logits


@dataclass
class DraftCounts:
    """Of a reply: its drafts, their tokens, and those of them that it says; counted as vLLM counts them."""

    drafts: int = 0
    draft_tokens: int = 0
    accepted_tokens: int = 0


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
        self.draft_counts = DraftCounts()
        self.text = ""
        self._max_new_tokens, self._stop_ids, self._num_logprobs = max_new_tokens, stop_ids, logprobs
        self._detokenizer, self._sampler = detokenizer, sampler
        self._streamed = 0
        self._lookup: PromptLookup | None = None  # from the first step that may draft

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

    def draft_tokens(self, most: int, costs: StepCosts, num_running: int) -> list[int]:
        """So many tokens at most that may come next, as many as are worth their rows; it has no say in what comes."""
        if self._lookup is None:
            self._lookup = PromptLookup(self.prompt_ids)
        room = max(0, min(most, self._max_new_tokens - len(self.ids) - 1))
        found = self._lookup.find(self.ids, room)
        draft = self._sampler.draft_tokens()[:room] or found
        if not draft:
            return draft
        row_cost = costs.row_cost(num_running)
        return draft[: prompt_lookup.choose_length(self._lookup.acceptance, row_cost, num_running, len(draft))]

    def append_draft(self, draft: list[int], logits: Logits) -> int:
        """Choose the tokens after the last one and after each of a draft, up to the first that is another.

        Returns how many of the draft have come true, so that their keys and values stay.
        """
        num_accepted = 0
        for token_logits, drafted in zip(logits, [*draft, None], strict=True):
            self.append_from(token_logits)
            if self.finish_reason is not None or self.ids[-1] != drafted:
                break
            num_accepted += 1
        if draft and self._lookup is not None:
            self._lookup.observe(len(draft), num_accepted)
            self.draft_counts.drafts += 1
            self.draft_counts.draft_tokens += len(draft)
            self.draft_counts.accepted_tokens += num_accepted
        return num_accepted
