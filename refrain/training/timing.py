"""Where the time of a run goes, by the names of its parts; what has no name is other."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import torch


class PhaseTimer:
    """Runs from its making; `phase` may be entered any number of times, and phases do not overlap."""

    def __init__(self) -> None:
        self.start = perf_counter()
        self.seconds: dict[str, float] = {}
        self.tokens = 0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """What runs inside counts as `name`, work queued on an accelerator included."""
        begin = self.now()
        try:
            yield
        finally:
            self.add(name, begin)

    def now(self) -> float:
        """Seconds since some moment, when all queued work is done."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return perf_counter()

    def add(self, name: str, begin: float) -> None:
        """The time since `begin` counts as `name`."""
        self.seconds[name] = self.seconds.get(name, 0.0) + self.now() - begin

    def count_tokens(self, tokens: int) -> None:
        """So many tokens more were learned from."""
        self.tokens += tokens

    @property
    def tokens_per_second(self) -> float:
        """Tokens a second of forward, backward and optimiser."""
        busy = sum(self.seconds.get(name, 0.0) for name in ("forward", "backward", "optimiser"))
        return self.tokens / busy if busy else 0.0

    def __str__(self) -> str:
        total = perf_counter() - self.start
        parts = {**self.seconds, "other": total - sum(self.seconds.values())}
        shares = ", ".join(f"{name} {seconds / total:.0%}" for name, seconds in parts.items())
        return f"{total:.1f} s: {shares}"
