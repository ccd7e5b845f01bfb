"""Continuous batching: sequences enter and leave at every step, and none is changed by those beside it.

A prompt is prefilled chunk by chunk, one at each step, so that nobody waits for a long one; and the chunks with which
two of them begin alike only once: what a chunk leaves in a slot depends on nothing but the tokens up to its end, so a
copy changes no byte. What was decoded token by token is rounded otherwise than a prompt, and is never copied.

With draft tokens (prompt lookup decoding) what sequences seem to repeat is fed beside their last tokens, each token as
a row of its own, as in company: so each has the logits of a step, and what is chosen from them without a draft is said.
"""

import time
from collections.abc import Iterable, Iterator
from typing import cast

import numpy as np

from refrain.generation.prompt_lookup import StepCosts
from refrain.generation.sequence import Sequence
from refrain.runtime.compact_session import CompactSlots
from refrain.runtime.loading import Session
from refrain.runtime.session import PREFILL_CHUNK, extended_length


class Engine:
    """A model with slots in which sequences grow; slots 0 to n - 1 are those of the n running ones.

    `max_tokens` bounds what all slots hold together, each running sequence counted with all that it may still say;
    None bounds nothing. Free slots keep their prompts, for others to begin with, until the room is needed. At most
    `num_draft_tokens` are drafted in a step, for all sequences together.
    """

    def __init__(self, lm: Session, slots: int, num_draft_tokens: int = 0, max_tokens: int | None = None) -> None:
        self.running: list[Sequence] = []
        self.entering: Sequence | None = None  # its prompt is being prefilled
        self.lm, self._num_slots, self._max_tokens, self._num_draft_tokens = lm, slots, max_tokens, num_draft_tokens
        self._slots = lm.allocate_slots(slots, num_draft_tokens) if num_draft_tokens else lm.allocate_slots(slots)
        self._costs = StepCosts()
        self._prefilled: list[list[int]] = [[] for _ in range(slots)]  # the prompt of each slot, as far as it was fed
        self._last_use = [0] * slots  # when a sequence left each slot, by a count of those that have left
        self._entering_slot = self._num_left = 0

    def free_slots(self) -> int:
        """How many sequences can enter."""
        return self._num_slots - len(self.running) - (self.entering is not None)

    def has_room(self, sequence: Sequence) -> bool:
        """Whether it can begin now: no other prompt is being prefilled, a slot is free, and its tokens fit."""
        if self.entering is not None or not self.free_slots():
            return False
        reserved = sum(other.max_length for other in (*self.running, sequence))
        return self._max_tokens is None or reserved <= self._max_tokens

    def reserved_tokens(self) -> int:
        """What active sequences may become, and what the prompts of free slots take."""
        active = [*self.running, *([self.entering] if self.entering else [])]
        kept = sum(len(prompt) for prompt in self._prefilled[len(active) :])
        return sum(sequence.max_length for sequence in active) + kept

    def begin(self, sequence: Sequence) -> None:
        """Let a sequence enter, for `step` to prefill its prompt; what another prompt has left is copied.

        ValueError when the prompt is longer than the model can see, or empty.
        """
        extended_length(0, len(sequence.prompt_ids), self.lm.context)
        source, length = self.longest_shared_prefix(sequence.prompt_ids)
        slot = self._choose_slot(source, length)
        self._slots.copy(source, slot, length)
        self._prefilled[slot] = sequence.prompt_ids[:length]
        self.entering, self._entering_slot, sequence.num_cached_tokens = sequence, slot, length
        self._release_room()

    def add(self, sequence: Sequence) -> None:
        """Prefill a whole prompt and let its sequence run; ValueError when it is too long, or cannot begin."""
        self.begin(sequence)
        while self.entering is not None:
            self.prefill_chunk()
        if sequence.error is not None:
            self.remove(sequence)
            raise sequence.error

    def longest_shared_prefix(self, prompt: list[int]) -> tuple[int, int]:
        """A slot whose prompt begins most like this one, and how many tokens of it can be copied.

        Of several a free one in which the new prompt can go on, so that nothing is copied.
        """
        lengths = [shared_chunks(prefilled, prompt[:-1]) for prefilled in self._prefilled]
        longest = max(lengths)
        alike = [slot for slot, length in enumerate(lengths) if length == longest]
        return next((slot for slot in alike if self._can_go_on(slot, longest)), alike[0]), longest

    def step(self) -> None:
        """One more token for every running sequence, several for those whose drafts come true.

        A prompt that is being prefilled gets its next chunk; its sequence takes its first token with the last one.
        """
        if any(sequence.finish_reason is not None for sequence in self.running):
            raise ValueError("the engine: an ended reply takes no step; remove it first")
        running = list(self.running)
        if self.entering is not None:
            self.prefill_chunk()
        if self._num_draft_tokens and any(drafts := self._draft_tokens(running)):
            self._decode_drafts(running, drafts)
        elif running:
            begin = time.perf_counter()
            logits = self._slots.decode(np.array([sequence.ids[-1] for sequence in running], dtype=np.int64))
            self._costs.observe(len(running), 0, time.perf_counter() - begin)
            for sequence, sequence_logits in zip(running, logits, strict=True):
                sequence.append_from(sequence_logits)

    def prefill_chunk(self) -> None:
        """Feed the next chunk of the prompt that is entering; with the last one its sequence runs."""
        sequence, slot = self.entering, self._entering_slot
        if sequence is None:
            raise ValueError("the engine: no prompt is entering; begin one")
        prompt, begin = sequence.prompt_ids, len(self._prefilled[slot])
        end = min(len(prompt), begin // PREFILL_CHUNK * PREFILL_CHUNK + PREFILL_CHUNK)
        logits = self._slots.prefill(slot, np.array(prompt[begin:end], dtype=np.int64))
        self._prefilled[slot] = prompt[:end]
        if end == len(prompt):
            self._swap(slot, len(self.running))
            self.running.append(sequence)
            self.entering = None
            sequence.append_from(logits[-1])

    def remove_finished(self) -> list[Sequence]:
        """Let the sequences that have ended leave."""
        finished = [sequence for sequence in self.running if sequence.finish_reason is not None]
        for sequence in finished:
            self.remove(sequence)
        return finished

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out, whether it has ended, runs or is entering; its slot keeps the prompt alone."""
        if sequence is self.entering:
            self.entering, slot = None, self._entering_slot
        else:
            slot = len(self.running) - 1
            left = self.running.index(sequence)
            self._move_last(left, slot)
            self.running[left] = self.running[slot]
            self.running.pop()
        self._slots.release(slot, len(self._prefilled[slot]))
        self._num_left += 1
        self._last_use[slot] = self._num_left

    def _move_last(self, left: int, last: int) -> None:
        """Put the last sequence where one has left; what another prompt could begin with stays, there or here."""
        kept, moved = self._prefilled[left], self._prefilled[last]
        if (length := shared_chunks(kept, moved)) < whole_chunks(len(kept)):
            return self._swap(left, last)
        self._slots.copy(last, left, int(self._slots.lengths[last]))
        self._prefilled[left], self._prefilled[last] = moved, moved[:length]
        return None

    def _swap(self, first: int, second: int) -> None:
        """Exchange what two slots hold."""
        if first != second:
            self._slots.swap(first, second)
            prompts, uses = self._prefilled, self._last_use
            prompts[first], prompts[second] = prompts[second], prompts[first]
            uses[first], uses[second] = uses[second], uses[first]

    def _choose_slot(self, source: int, length: int) -> int:
        """The free slot whose prompt is missed least: it goes on in the new one, or is the oldest."""
        if self._can_go_on(source, length):
            return source
        free = range(len(self.running), self._num_slots)
        return min(free, key=lambda slot: (len(self._prefilled[slot]) > 0, slot == source, self._last_use[slot]))

    def _can_go_on(self, slot: int, length: int) -> bool:
        """Whether a slot is free, and nothing is lost of it that could be copied when all but so many tokens go."""
        return slot >= len(self.running) and len(self._prefilled[slot]) - length < PREFILL_CHUNK

    def _release_room(self) -> None:
        """Forget the prompts of free slots, the oldest first, until all that is reserved and kept has room."""
        if self._max_tokens is None:
            return
        active = [*self.running, *([self.entering] if self.entering else [])]
        room = self._max_tokens - sum(sequence.max_length for sequence in active)
        free = set(range(len(self.running), self._num_slots)) - {self._entering_slot}
        for slot in sorted(free, key=lambda slot: self._last_use[slot], reverse=True):
            room -= len(self._prefilled[slot])
            if room < 0:
                room += len(self._prefilled[slot])
                self._prefilled[slot] = []
                self._slots.release(slot, 0)

    def _draft_tokens(self, running: list[Sequence]) -> list[list[int]]:
        """What may follow each sequence, as far as there are rows for it."""
        drafts, room = list[list[int]](), self._num_draft_tokens
        for sequence in running:
            drafts.append(sequence.draft_tokens(room, self._costs, len(running)))
            room -= len(drafts[-1])
        return drafts

    def _decode_drafts(self, running: list[Sequence], drafts: list[list[int]]) -> None:
        """Feed drafts beside the last tokens, and keep of them what is said."""
        begin = time.perf_counter()
        fed = [[sequence.ids[-1], *draft] for sequence, draft in zip(running, drafts, strict=True)]
        logits = cast(CompactSlots, self._slots).decode_drafts(fed)
        self._costs.observe(len(running), sum(map(len, drafts)), time.perf_counter() - begin)
        for slot, (sequence, draft) in enumerate(zip(running, drafts, strict=True)):
            num_accepted = sequence.append_draft(draft, logits[slot])
            self._slots.crop(slot, int(self._slots.lengths[slot]) - len(draft) + num_accepted)


def run(engine: Engine, waiting: Iterable[Sequence]) -> Iterator[Sequence]:
    """All sequences, each as soon as it has ended; the error of one that could not go on."""
    queue = iter(waiting)
    while True:
        while engine.free_slots() and (sequence := next(queue, None)) is not None:
            engine.add(sequence)
            yield from engine.remove_finished()
        if not engine.running:
            return
        engine.step()
        for sequence in engine.remove_finished():
            if sequence.error is not None:
                raise sequence.error
            yield sequence


def shared_chunks(first: list[int], second: list[int]) -> int:
    """How many ids two lists begin with in common, in whole chunks."""
    end = 0
    while first[end : end + PREFILL_CHUNK] == second[end : end + PREFILL_CHUNK] and end + PREFILL_CHUNK <= len(first):
        end += PREFILL_CHUNK
    return end


def whole_chunks(length: int) -> int:
    return length // PREFILL_CHUNK * PREFILL_CHUNK
