"""Continuous batching: replies enter and leave at every step, and none is changed by those beside it.

Prompts are fed row by row, and what two of them have in common is fed once: keys and values of a prompt are the same
bytes however it is cut, so a copied beginning changes nothing. Keys and values of tokens that were said one at a time
are rounded otherwise, and are never copied.
"""

from collections.abc import Iterable, Iterator
from itertools import islice, takewhile

import numpy as np

from refrain.reply import Reply, sure
from refrain.runtime import Session

LAST = 2  # tokens of a prompt that are fed in any case: one alone is rounded otherwise


class Engine:
    """A model with rows in which replies grow; rows 0 to n - 1 are those of the n live replies."""

    def __init__(self, lm: Session, rows: int, lookup: bool = False) -> None:
        self.live: list[Reply] = []
        self.lm, self._slots, self._rows = lm, lm.slots(rows), rows
        self._fed: list[list[int]] = [[] for _ in range(rows)]  # the prompt whose keys and values are in each row
        self._lookup = lookup
        self._believe = True  # false: the next token must come from a step of its own

    def room(self) -> int:
        """How many replies can enter."""
        return self._rows - len(self.live)

    def admit(self, reply: Reply) -> None:
        """Feed a prompt and let its reply begin; ValueError when it is longer than the model can see."""
        row, prompt = len(self.live), reply.prompt
        shared, source = max((common(fed, prompt), -at) for at, fed in enumerate(self._fed))
        length = max(0, min(shared, len(prompt) - LAST))
        self._slots.copy(-source, row, length)
        self._fed[row] = prompt[:length]  # true also if what follows raises
        logits = self._slots.feed(row, np.array(prompt[length:], dtype=np.int64))
        self._fed[row] = prompt
        self.live.append(reply)
        reply.take(logits[-1])

    def step(self) -> None:
        """One more token for every live reply, several for one alone that says again what was said before."""
        speaking = [reply for reply in self.live if reply.reason is None]
        if speaking != self.live:
            raise ValueError("the engine: an ended reply takes no step; retire it first")
        guess = self.live[0].guess() if self._lookup and self._believe and len(self.live) == 1 else []
        if guess:
            return self._verify(self.live[0], guess)
        self._believe = True
        logits = self._slots.step(np.array([reply.ids[-1] for reply in self.live], dtype=np.int64))
        for reply, own in zip(self.live, logits, strict=True):
            reply.take(own)
        return None

    def retire(self) -> list[Reply]:
        """Let the replies that have ended leave."""
        ended = [reply for reply in self.live if reply.reason is not None]
        for reply in ended:
            self.leave(reply)
        return ended

    def leave(self, reply: Reply) -> None:
        """Take a reply out, whether it has ended or not; the last live one takes its row."""
        row, last = self.live.index(reply), len(self.live) - 1
        self._slots.copy(last, row, int(self._slots.lengths[last]))
        self._fed[row] = self._fed[last]
        self.live[row] = self.live[last]
        self.live.pop()

    def _verify(self, reply: Reply, guess: list[int]) -> None:
        """Feed a guess at once and keep what the model would say; where it is not sure, a step of its own tells."""
        length = int(self._slots.lengths[0])
        logits = self._slots.feed(0, np.array([reply.ids[-1], *guess], dtype=np.int64), keep=len(guess) + 1)
        for right, (own, guessed) in enumerate(zip(logits, [*guess, -1], strict=True)):
            if not sure(own):
                self._believe = False
                return self._slots.cut(0, length + right)
            reply.take(own)
            if reply.reason is not None or reply.ids[-1] != guessed:
                return self._slots.cut(0, length + right + 1)
        return None


def serve(engine: Engine, waiting: Iterable[Reply]) -> Iterator[Reply]:
    """All replies, each as soon as it has ended."""
    queue = iter(waiting)
    while True:
        for reply in islice(queue, engine.room()):
            engine.admit(reply)
        yield from engine.retire()
        if engine.live:
            engine.step()
            yield from engine.retire()
        elif (following := next(queue, None)) is not None:
            engine.admit(following)
        else:
            return


def common(one: list[int], other: list[int]) -> int:
    """How many ids two lists begin with in common."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
