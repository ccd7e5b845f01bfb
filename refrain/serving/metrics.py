"""What is counted of replies, by model: for /metrics, which gives it vLLM's names."""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from refrain.generation.request import GenerationRequest
from refrain.serving.backends.protocol import Generation, GenerationWrapper, Piece
from refrain.serving.errors import ApiError

BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 600.0)
# A tiny model's token takes a millisecond, the reply of a large one ten minutes.


@dataclass
class Histogram:
    """How many values lie in each of the buckets, the last of which has no end."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0

    def observe(self, value: float, count: int = 1) -> None:
        """Count a value, or several equal ones."""
        self.counts[bisect_left(BUCKETS, value)] += count
        self.total += value * count


@dataclass
class ModelMetrics:
    """What is counted of one model's replies, and goes on being counted when it is replaced."""

    prompt_tokens: int = 0
    prefix_cached_tokens: int = 0
    generation_tokens: int = 0
    spec_decode_num_drafts: int = 0
    spec_decode_num_draft_tokens: int = 0
    spec_decode_num_accepted_tokens: int = 0
    finished: Counter[str] = field(default_factory=Counter)  # stop, length, cancelled, timeout, error
    refused: Counter[str] = field(default_factory=Counter)  # by the code of the error: queue_full, ...
    time_to_first_token: Histogram = field(default_factory=Histogram)
    time_per_output_token: Histogram = field(default_factory=Histogram)
    request_latency: Histogram = field(default_factory=Histogram)
    queue_time: Histogram = field(default_factory=Histogram)


class Metrics:
    """The counts of all models; for the thread of the event loop."""

    def __init__(self) -> None:
        self.by_model: dict[str, ModelMetrics] = {}

    def observe(self, name: str, request: GenerationRequest, submit: Callable[[], Generation]) -> "MeasuredGeneration":
        """What is submitted, counted as it goes on; a refusal is counted too."""
        metrics, begin = self.by_model.setdefault(name, ModelMetrics()), time.monotonic()
        try:
            return MeasuredGeneration(submit(), len(request.prompt_ids), metrics, begin)
        except ApiError as error:
            metrics.refused[error.code] += 1
            raise


class MeasuredGeneration(GenerationWrapper):
    """A reply that is counted while it is read: what backends.protocol.Generation promises."""

    def __init__(self, generation: Generation, num_prompt_tokens: int, metrics: ModelMetrics, begin: float) -> None:
        super().__init__(generation)
        self._num_prompt_tokens, self._metrics = num_prompt_tokens, metrics
        self._begin = self._last = begin
        self._num_tokens, self._has_ended = 0, False

    def cancel(self) -> None:
        super().cancel()
        self._end("cancelled")

    async def __aiter__(self) -> AsyncIterator[Piece]:
        try:
            async for piece in self._generation:
                if piece.ids:
                    self._observe_tokens(len(piece.ids))
                if piece.finish_reason is not None:
                    self._end(piece.finish_reason)
                yield piece
        except ApiError:
            self._end("error")
            raise

    def _observe_tokens(self, count: int) -> None:
        now, metrics = time.monotonic(), self._metrics
        if self._num_tokens == 0:
            metrics.time_to_first_token.observe(now - self._begin)
        else:
            metrics.time_per_output_token.observe((now - self._last) / count, count)
        self._last = now
        self._num_tokens += count

    def _end(self, reason: str) -> None:
        """Count the reply as a whole, once; what was kept and is said again has cost no tokens."""
        if self._has_ended:
            return
        self._has_ended = True
        metrics, queue_seconds = self._metrics, self._generation.queue_seconds
        metrics.finished[reason] += 1
        metrics.request_latency.observe(time.monotonic() - self._begin)
        if queue_seconds is not None:  # it has begun
            metrics.queue_time.observe(queue_seconds)
            metrics.prompt_tokens += self._num_prompt_tokens
            metrics.prefix_cached_tokens += self._generation.num_cached_tokens
            metrics.generation_tokens += self._num_tokens
            counts = self._generation.draft_counts
            metrics.spec_decode_num_drafts += counts.drafts
            metrics.spec_decode_num_draft_tokens += counts.draft_tokens
            metrics.spec_decode_num_accepted_tokens += counts.accepted_tokens
