"""Replies that would be the same again, kept for a while: bounded in bytes, the least recently used leave first."""

import dataclasses
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from refrain.generation.grammar import Grammar
from refrain.generation.request import GenerationRequest
from refrain.generation.sequence import DraftCounts
from refrain.serving.backends.protocol import Generation, GenerationWrapper, Piece
from refrain.serving.errors import ApiError
from refrain.serving.models.model_pool import ServedModel
from refrain.serving.settings.schema import CacheSettings

ENTRY_OVERHEAD = 400  # bytes of the objects around a reply, and of its place in the table
WHOLE = ("stop", "length")  # reasons to end that come again
DECIDES_NOTHING = "is_seed_drawn"  # the one field of a request that changes no byte of its reply


class Entry(NamedTuple):
    """A reply as bytes, which nobody can change, and whose length is known."""

    content: bytes
    expires: float  # by the clock of the cache


class ResponseCache:
    """Replies by all that decides them; for the thread of the event loop."""

    def __init__(self, settings: CacheSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        self._entries = OrderedDict[str, Entry]()  # the least recently used first
        self.num_bytes = self.hits = self.misses = self.checks = self.mismatches = 0

    def __len__(self) -> int:
        return len(self._entries)

    def configure(self, settings: CacheSettings) -> None:
        """Bound it anew; what has no more room leaves."""
        self._settings = settings
        self._evict()

    def submit(
        self, model: ServedModel, request: GenerationRequest, deadline: float, threads: int | None
    ) -> Generation:
        """The reply that is kept or, where none is, one of the model, which is kept when it is whole.

        Each `check_every` hits one is made anew and compared. Not kept is what nobody can ask for again.
        """
        if not self._settings.max_bytes or (request.is_seed_drawn and request.sampling.temperature > 0):
            return model.backend.submit(request, deadline)
        key = request_key(model, request, threads)
        if (kept := self._find(key)) is None:
            self.misses += 1
            return RecordedReply(model.backend.submit(request, deadline), self, key, None)
        self.hits += 1
        if self._settings.check_every and self.hits % self._settings.check_every == 0:
            try:
                return RecordedReply(model.backend.submit(request, deadline), self, key, kept)
            except ApiError:  # no room to make it again
                pass
        return KeptReply(kept, len(request.prompt_ids))

    def store(self, key: str, content: bytes) -> None:
        """Keep a reply, if it is not larger than all that may be kept."""
        self._remove(key)
        self._entries[key] = Entry(content, self._clock() + self._settings.ttl)
        self.num_bytes += entry_bytes(key, content)
        self._evict()

    def compare(self, key: str, kept: bytes, content: bytes) -> None:
        """Count a reply that was made again, and forget it where it has come out otherwise."""
        self.checks += 1
        if kept != content:
            self.mismatches += 1
            self._remove(key)

    def _find(self, key: str) -> bytes | None:
        if (entry := self._entries.get(key)) is None:
            return None
        if self._clock() >= entry.expires:
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        return entry.content

    def _evict(self) -> None:
        while self.num_bytes > self._settings.max_bytes:
            self._remove(next(iter(self._entries)))

    def _remove(self, key: str) -> None:
        if (entry := self._entries.pop(key, None)) is not None:
            self.num_bytes -= entry_bytes(key, entry.content)


class RecordedReply(GenerationWrapper):
    """A reply of the model: kept when it is whole or, where one is kept, compared with it."""

    def __init__(self, generation: Generation, cache: ResponseCache, key: str, kept: bytes | None) -> None:
        super().__init__(generation)
        self._cache, self._key, self._kept = cache, key, kept
        self._whole = Piece()

    @property
    def cache(self) -> str:
        return "miss" if self._kept is None else "hit"

    async def __aiter__(self) -> AsyncIterator[Piece]:
        async for piece in self._generation:
            self._whole.extend(piece)
            if piece.finish_reason in WHOLE:
                content = msgspec.msgpack.encode(self._whole)
                if self._kept is None:
                    self._cache.store(self._key, content)
                else:
                    self._cache.compare(self._key, self._kept, content)
            yield piece


class KeptReply:
    """A reply that was kept, in one piece."""

    cache = "hit"
    draft_counts = DraftCounts()
    queue_seconds: float | None = None

    def __init__(self, content: bytes, num_prompt_tokens: int) -> None:
        self._content, self.num_cached_tokens = content, num_prompt_tokens
        self._is_cancelled = False

    def cancel(self) -> None:
        self._is_cancelled = True

    async def __aiter__(self) -> AsyncIterator[Piece]:
        if self._is_cancelled:
            yield Piece(finish_reason="cancelled")
        else:
            yield msgspec.msgpack.decode(self._content, type=Piece)


def request_key(model: ServedModel, request: GenerationRequest, threads: int | None) -> str:
    """sha256 of all that decides a reply: the model's bytes, every field of the request, how sums are shared out."""
    if request.sampling.temperature == 0:  # nothing is drawn
        request = dataclasses.replace(request, sampling=dataclasses.replace(request.sampling, seed=0))
    deciding = {"seal": model.seal, "variant": model.variant, "threads": threads, "request": as_json(request)}
    return hashlib.sha256(json.dumps(deciding, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def as_json(value: Any) -> Any:
    """A request as JSON has it: every field of every dataclass in it; TypeError for what has no such form."""
    if dataclasses.is_dataclass(value):
        names = [each.name for each in dataclasses.fields(value) if each.name != DECIDES_NOTHING]
        return {name: as_json(getattr(value, name)) for name in names}
    if isinstance(value, Grammar):
        return value.source
    if isinstance(value, Mapping):
        return sorted([as_json(key), as_json(each)] for key, each in value.items())
    if isinstance(value, list | tuple):
        return [as_json(each) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__}: it has no form in a key; give it one in as_json")


def entry_bytes(key: str, content: bytes) -> int:
    """What an entry takes, with what the dictionary needs for it."""
    return len(key) + len(content) + ENTRY_OVERHEAD
