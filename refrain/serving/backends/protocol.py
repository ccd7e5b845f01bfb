"""What the routes ask of whatever makes replies."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from refrain.chat.encoding import ChatTokenizer
from refrain.generation.request import GenerationRequest
from refrain.generation.sequence import DraftCounts


class TokenLogprob(NamedTuple):
    """A token of a reply with its log-probability, as the model has it before temperature, penalties and grammar."""

    id: int
    logprob: float
    top: list[tuple[int, float]]  # the likeliest ids, falling; as many as were asked for


@dataclass
class Piece:
    """What has been added to a reply since the last piece."""

    text: str = ""
    ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)  # of each id, where they were asked for
    finish_reason: str | None = None  # in the last piece: stop, length, cancelled or timeout

    def extend(self, later: "Piece") -> None:
        """Put what came later behind it."""
        self.text += later.text
        self.ids += later.ids
        self.logprobs += later.logprobs
        self.finish_reason = later.finish_reason


class Generation(Protocol):
    """A reply that grows: pieces until one has a finish reason; ApiError where it fails."""

    @property
    def cache(self) -> str:
        """hit, miss or off: whether it was kept, and is said again."""

    @property
    def num_cached_tokens(self) -> int:
        """Of the prompt, known with the first piece: what another one had left in memory."""

    @property
    def draft_counts(self) -> DraftCounts:
        """What was drafted for it so far."""

    @property
    def queue_seconds(self) -> float | None:
        """Until it began, known with the first piece; None where that is not known."""

    def __aiter__(self) -> AsyncIterator[Piece]: ...
    def cancel(self) -> None:
        """End it now, in the queue, in the prompt or in a word; nothing happens to one that has ended."""


class GenerationWrapper:
    """What another reply says of itself, for one that watches it grow."""

    def __init__(self, generation: Generation) -> None:
        self._generation = generation

    @property
    def cache(self) -> str:
        return self._generation.cache

    @property
    def num_cached_tokens(self) -> int:
        return self._generation.num_cached_tokens

    @property
    def draft_counts(self) -> DraftCounts:
        return self._generation.draft_counts

    @property
    def queue_seconds(self) -> float | None:
        return self._generation.queue_seconds

    def cancel(self) -> None:
        self._generation.cancel()


class Backend(Protocol):
    """A model that answers."""

    tokenizer: ChatTokenizer
    context: int  # tokens that the model sees at once

    def submit(self, request: GenerationRequest, deadline: float | None = None) -> Generation:
        """Start a reply, at once, that ends at a time of time.monotonic.

        ApiError 429 where the queue is full, 503 where none is taken any more.
        """

    def is_alive(self) -> bool:
        """Whether it can still answer, busy or not."""

    def num_running(self) -> int: ...
    def num_waiting(self) -> int: ...
    def kv_tokens(self) -> tuple[int, int] | None:
        """Tokens whose keys and values have room or are promised it, and how many can; None where that is elsewhere."""

    def close(self) -> None:
        """End what runs, and give back what it holds."""
