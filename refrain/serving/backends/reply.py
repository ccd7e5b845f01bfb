"""A reply between two threads: the engine's writes to it, the event loop's reads it as it grows."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from refrain.generation.sequence import DraftCounts, Sequence
from refrain.serving.backends.protocol import Piece, TokenLogprob
from refrain.serving.errors import ApiError

FINISH_REASONS = {"end": "stop", "stop": "stop", "length": "length"}


class Reply:
    """What backends.protocol.Generation promises. All but `collect` is for the thread of the event loop."""

    cache = "off"

    def __init__(self, sequence: Sequence, deadline: float | None, cancel: Callable[["Reply"], None]) -> None:
        self.sequence, self.deadline = sequence, deadline
        self.num_cached_tokens = 0
        self.submitted_at = time.monotonic()
        self.queue_seconds: float | None = None
        self.is_cancelled = False
        self._cancel, self._collected = cancel, 0
        self._piece, self._error = Piece(), None  # type: Piece, ApiError | None
        self._news = asyncio.Event()

    def begin(self) -> None:
        """It is its turn; for the engine's thread."""
        self.queue_seconds = time.monotonic() - self.submitted_at

    def cancel(self) -> None:
        """End it now; what it has said so far stays said."""
        if not self.has_ended:
            self.is_cancelled = True
            self._cancel(self)

    @property
    def draft_counts(self) -> DraftCounts:
        """What was drafted for it so far."""
        return self.sequence.draft_counts

    @property
    def is_unheard(self) -> bool:
        """Whether nothing of it was collected yet."""
        return self._collected == 0

    @property
    def has_ended(self) -> bool:
        return self._piece.finish_reason is not None or self._error is not None

    def collect(self, finish_reason: str | None = None) -> Piece:
        """What the sequence has said since the last time; for the engine's thread."""
        sequence, begin = self.sequence, self._collected
        self._collected = end = len(sequence.ids)
        found = [
            TokenLogprob(token, *logprobs)
            for token, logprobs in zip(sequence.ids[begin:end], sequence.logprobs[begin:end], strict=False)
        ]
        reason = finish_reason or FINISH_REASONS.get(sequence.finish_reason or "")
        return Piece(sequence.new_text(), sequence.ids[begin:end], found, reason)

    def deliver(self, piece: Piece | ApiError) -> None:
        """Put what has come behind what was not read yet."""
        if isinstance(piece, ApiError):
            self._error = piece
        else:
            self.num_cached_tokens = self.sequence.num_cached_tokens
            self._piece.extend(piece)
        self._news.set()

    async def __aiter__(self) -> AsyncIterator[Piece]:
        while True:
            await self._news.wait()
            if not self.has_ended:
                self._news.clear()
            piece, reason = self._piece, self._piece.finish_reason
            self._piece = Piece(finish_reason=reason)
            if piece.ids or piece.text or reason is not None:
                yield piece
            if self._error is not None:
                raise self._error
            if reason is not None:
                return
