"""Continuous batching: replies enter and leave at every step, and none is changed by those beside it.

Prompts are fed row by row, and the pieces in which two of them begin alike are fed once: what a piece leaves in a row
depends on nothing but the tokens up to its end, so a copy changes no byte. What was said token by token is rounded
otherwise than a prompt, and is never copied.

With `lookup`, what a lone reply says again is guessed and read like a prompt: fewer steps, other rounding. So of two
tokens that are all but equally likely it may say the other one, above all in few bits.
"""

from collections.abc import Iterable, Iterator
from itertools import takewhile

import numpy as np

from refrain.generation.sequence import Sequence, is_confident
from refrain.runtime.loading import Session
from refrain.runtime.session import PREFILL_CHUNK

DOUBT = 32  # tokens until the next guess at most


class Engine:
    """A model with rows in which replies grow; rows 0 to n - 1 are those of the n live replies."""

    def __init__(self, lm: Session, rows: int, lookup: bool = False) -> None:
        self.running: list[Sequence] = []
        self.lm, self._slots, self._rows = lm, lm.allocate_slots(rows), rows
        self._fed: list[list[int]] = [[] for _ in range(rows)]  # the prompt whose keys and values are in each row
        self._lookup = lookup
        self._alone = 0  # tokens that must come from steps of their own before the next guess
        self._doubt = 1  # ... after a guess that gained nothing

    def free_slots(self) -> int:
        """How many replies can enter."""
        return self._rows - len(self.running)

    def add(self, reply: Sequence) -> None:
        """Feed a prompt and let its reply begin; ValueError when it is longer than the model can see."""
        row, prompt = len(self.running), reply.prompt
        shared, source = max((common_prefix(fed, prompt[:-1]), -at) for at, fed in enumerate(self._fed))
        length = shared // PREFILL_CHUNK * PREFILL_CHUNK
        self._slots.copy(-source, row, length)
        self._fed[row] = prompt[:length]  # true also if what follows raises
        logits = self._slots.prefill(row, np.array(prompt[length:], dtype=np.int64))
        self._fed[row] = prompt
        reply.append_from(logits[-1])
        self.running.append(reply)

    def step(self) -> None:
        """One more token for every live reply, several for one alone that says again what was said before."""
        speaking = [reply for reply in self.running if reply.finish_reason is None]
        if speaking != self.running:
            raise ValueError("the engine: an ended reply takes no step; retire it first")
        if self._lookup and len(self.running) == 1 and self._alone == 0 and (guess := self.running[0].draft_tokens()):
            return self._verify(self.running[0], guess)
        self._alone = max(0, self._alone - 1)
        logits = self._slots.decode(np.array([reply.ids[-1] for reply in self.running], dtype=np.int64))
        for reply, own in zip(self.running, logits, strict=True):
            reply.append_from(own)
        return None

    def remove_finished(self) -> list[Sequence]:
        """Let the replies that have ended leave."""
        ended = [reply for reply in self.running if reply.finish_reason is not None]
        for reply in ended:
            self.remove(reply)
        return ended

    def remove(self, reply: Sequence) -> None:
        """Take a reply out, whether it has ended or not; the last live one takes its row."""
        row, last = self.running.index(reply), len(self.running) - 1
        self._slots.copy(last, row, int(self._slots.lengths[last]))
        self._fed[row] = self._fed[last]
        self.running[row] = self.running[last]
        self.running.pop()

    def _verify(self, reply: Sequence, guess: list[int]) -> None:
        """Feed a guess at once and keep what the model would say; where it is not sure, a step of its own tells."""
        length, said = int(self._slots.lengths[0]), len(reply.ids)
        logits = self._slots.prefill(0, np.array([reply.ids[-1], *guess], dtype=np.int64), keep=len(guess) + 1)
        for own, guessed in zip(logits, [*guess, -1], strict=True):
            if not is_confident(own):
                self._alone = 1
                break
            reply.append_from(own)
            length += 1
            if reply.finish_reason is not None or reply.ids[-1] != guessed:
                break
        self._slots.crop(0, length)
        if len(reply.ids) > said + 1:
            self._doubt = 1
        else:
            self._alone, self._doubt = self._doubt, min(2 * self._doubt, DOUBT)


def run(engine: Engine, waiting: Iterable[Sequence]) -> Iterator[Sequence]:
    """All replies, each as soon as it has ended."""
    queue = iter(waiting)
    while True:
        while engine.free_slots() and (reply := next(queue, None)) is not None:
            engine.add(reply)
            yield from engine.remove_finished()
        if not engine.running:
            return
        engine.step()
        yield from engine.remove_finished()


def common_prefix(one: list[int], other: list[int]) -> int:
    """How many ids two lists begin with in common."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
