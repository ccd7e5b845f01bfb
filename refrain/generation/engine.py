"""Continuous batching: sequences enter and leave at every step, and none is changed by those beside it.

Prompts are prefilled one by one, and the chunks with which two of them begin alike only once: what a chunk leaves in a
slot depends on nothing but the tokens up to its end, so a copy changes no byte. What was decoded token by token is
rounded otherwise than a prompt, and is never copied.

With `lookup` (prompt-lookup decoding), what a lone sequence repeats is drafted and read like a prompt: fewer steps,
other rounding. So of two tokens that are all but equally likely it may say the other one, above all in few bits.
"""

from collections.abc import Iterable, Iterator
from itertools import takewhile

import numpy as np

from refrain.generation.sequence import Sequence, is_confident
from refrain.runtime.loading import Session
from refrain.runtime.session import PREFILL_CHUNK

MAX_DRAFT_BACKOFF = 32  # tokens until the next draft at most


class Engine:
    """A model with slots in which sequences grow; slots 0 to n - 1 are those of the n running ones."""

    def __init__(self, lm: Session, slots: int, lookup: bool = False) -> None:
        self.running: list[Sequence] = []
        self.lm, self._slots, self._num_slots = lm, lm.allocate_slots(slots), slots
        self._prefilled: list[list[int]] = [[] for _ in range(slots)]  # the prompt of each slot
        self._uses_lookup = lookup
        self._steps_before_draft = 0  # tokens that must come from steps of their own
        self._draft_backoff = 1  # ... after a draft that gained nothing

    def free_slots(self) -> int:
        """How many sequences can enter."""
        return self._num_slots - len(self.running)

    def add(self, sequence: Sequence) -> None:
        """Prefill a prompt and let its sequence begin; ValueError when it is longer than the model can see."""
        slot, prompt = len(self.running), sequence.prompt_ids
        source, length = self.longest_shared_prefix(prompt)
        self._slots.copy(source, slot, length)
        self._prefilled[slot] = prompt[:length]  # true also if what follows raises
        logits = self._slots.prefill(slot, np.array(prompt[length:], dtype=np.int64))
        self._prefilled[slot] = prompt
        sequence.append_from(logits[-1])
        self.running.append(sequence)

    def longest_shared_prefix(self, prompt: list[int]) -> tuple[int, int]:
        """The first slot whose prompt begins most like this one, and how many tokens of it can be copied."""
        lengths = [common_prefix(prefilled, prompt[:-1]) for prefilled in self._prefilled]
        longest = max(lengths)
        return lengths.index(longest), longest // PREFILL_CHUNK * PREFILL_CHUNK

    def step(self) -> None:
        """One more token for every running sequence, several for a lone one that repeats itself or its prompt."""
        if any(sequence.finish_reason is not None for sequence in self.running):
            raise ValueError("the engine: an ended reply takes no step; remove it first")
        may_draft = self._uses_lookup and len(self.running) == 1 and self._steps_before_draft == 0
        if may_draft and (draft := self.running[0].draft_tokens()):
            return self._verify(self.running[0], draft)
        self._steps_before_draft = max(0, self._steps_before_draft - 1)
        logits = self._slots.decode(np.array([sequence.ids[-1] for sequence in self.running], dtype=np.int64))
        for sequence, sequence_logits in zip(self.running, logits, strict=True):
            sequence.append_from(sequence_logits)
        return None

    def remove_finished(self) -> list[Sequence]:
        """Let the sequences that have ended leave."""
        finished = [sequence for sequence in self.running if sequence.finish_reason is not None]
        for sequence in finished:
            self.remove(sequence)
        return finished

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out, whether it has ended or not; the last running one takes its slot."""
        slot, last = self.running.index(sequence), len(self.running) - 1
        self._slots.copy(last, slot, int(self._slots.lengths[last]))
        self._prefilled[slot] = self._prefilled[last]
        self.running[slot] = self.running[last]
        self.running.pop()

    def _verify(self, sequence: Sequence, draft: list[int]) -> None:
        """Feed a draft at once and keep what the model would say; where it is not sure, a step of its own tells."""
        length, tokens_before = int(self._slots.lengths[0]), len(sequence.ids)
        logits = self._slots.prefill(0, np.array([sequence.ids[-1], *draft], dtype=np.int64), keep=len(draft) + 1)
        for token_logits, drafted in zip(logits, [*draft, -1], strict=True):
            if not is_confident(token_logits):
                self._steps_before_draft = 1
                break
            sequence.append_from(token_logits)
            length += 1
            if sequence.finish_reason is not None or sequence.ids[-1] != drafted:
                break
        self._slots.crop(0, length)
        if len(sequence.ids) > tokens_before + 1:
            self._draft_backoff = 1
        else:
            self._steps_before_draft = self._draft_backoff
            self._draft_backoff = min(2 * self._draft_backoff, MAX_DRAFT_BACKOFF)


def run(engine: Engine, waiting: Iterable[Sequence]) -> Iterator[Sequence]:
    """All sequences, each as soon as it has ended."""
    queue = iter(waiting)
    while True:
        while engine.free_slots() and (sequence := next(queue, None)) is not None:
            engine.add(sequence)
            yield from engine.remove_finished()
        if not engine.running:
            return
        engine.step()
        yield from engine.remove_finished()


def common_prefix(first: list[int], second: list[int]) -> int:
    """How many ids two lists begin with in common."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))
