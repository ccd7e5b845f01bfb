"""Another server that answers, vLLM or llama.cpp: template, checks and tokenizer in front of it are ours."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import aclosing

from refrain.chat.encoding import ChatTokenizer
from refrain.generation.request import GenerationRequest
from refrain.generation.sequence import DraftCounts
from refrain.serving.backends import openai_format
from refrain.serving.backends.http_stream import UNREACHABLE, UpstreamError
from refrain.serving.backends.protocol import Piece
from refrain.serving.backends.upstream import BUSY, Upstream
from refrain.serving.errors import ApiError

log = logging.getLogger(__name__)
ANSWER_SECONDS = 10.0  # for a list of its models
RETRY_SECONDS = 5.0  # until a server that could not be reached is asked again whether it lives


class OpenAIBackend:
    """What backends.protocol.Backend promises."""

    def __init__(self, upstream: Upstream, tokenizer: ChatTokenizer, context: int, max_running: int) -> None:
        self.upstream, self.tokenizer, self.context = upstream, tokenizer, context
        self._max_running, self._replies = max_running, set[RemoteReply]()
        self._failed_at: float | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._probe: asyncio.Task[None] | None = None
        self._is_closed = False

    def submit(self, request: GenerationRequest, deadline: float | None = None) -> "RemoteReply":
        """A reply that begins at once, where the other server has room."""
        openai_format.refuse_unsupported(request)
        if self._is_closed:
            raise ApiError(503, "draining", "the server: it is closing", retry_after=5)
        if len(self._replies) >= self._max_running:
            sentence = f"the queue: {len(self._replies)} requests are with the other server; try again later"
            raise ApiError(429, "queue_full", sentence, retry_after=1)
        self._loop = asyncio.get_running_loop()
        reply = RemoteReply(self, request, deadline)
        self._replies.add(reply)
        return reply

    def discard(self, reply: "RemoteReply", error: UpstreamError | None) -> None:
        """A reply has ended, with an error or without."""
        self._replies.discard(reply)
        self._failed_at = time.monotonic() if error is not None and error.code == UNREACHABLE else None

    def is_alive(self) -> bool:
        """Whether the other server answered the last time; one that did not is asked again after a while."""
        if self._failed_at is None:
            return not self._is_closed
        if time.monotonic() - self._failed_at > RETRY_SECONDS and (self._probe is None or self._probe.done()):
            self._probe = asyncio.get_running_loop().create_task(self._ask_again())
        return False

    async def _ask_again(self) -> None:
        self._failed_at = time.monotonic()
        try:
            await asyncio.wait_for(self.upstream.get("/models"), ANSWER_SECONDS)
            self._failed_at = None
        except (UpstreamError, TimeoutError) as error:
            log.warning("%s: %s", self.upstream.address, error)

    def num_running(self) -> int:
        return len(self._replies)

    def num_waiting(self) -> int:
        """None that is known of: they wait in the other server."""
        return 0

    def kv_tokens(self) -> None:
        """They are the other server's."""

    def close(self) -> None:
        """Close all connections, which ends what runs."""
        self._is_closed = True
        if self._loop is not None and not self._loop.is_closed():
            for reply in list(self._replies):
                self._loop.call_soon_threadsafe(reply.cancel)


class RemoteReply:
    """What backends.protocol.Generation promises, of a reply that another server makes."""

    cache = "off"
    draft_counts = DraftCounts()
    queue_seconds: float | None = None

    def __init__(self, backend: OpenAIBackend, request: GenerationRequest, deadline: float | None) -> None:
        self.num_cached_tokens = 0
        self._backend, self._request, self._deadline = backend, request, deadline
        self._pieces = asyncio.Queue[Piece | ApiError]()
        self._task = asyncio.get_running_loop().create_task(self._read())
        self._task.add_done_callback(self._end)

    def cancel(self) -> None:
        """Cut the connection, so that the other server stops."""
        self._task.cancel()

    async def __aiter__(self) -> AsyncIterator[Piece]:
        while True:
            piece = await self._pieces.get()
            if isinstance(piece, ApiError):
                raise piece
            yield piece
            if piece.finish_reason is not None:
                return

    async def _read(self) -> None:
        """Read the reply to its end, or to the deadline."""
        left = None if self._deadline is None else self._deadline - time.monotonic()
        try:
            async with asyncio.timeout(left):
                await self._read_pieces()
        except TimeoutError:
            self._pieces.put_nowait(Piece(finish_reason="timeout"))

    async def _read_pieces(self) -> None:
        async with aclosing(self._backend.upstream.stream(self._backend.tokenizer, self._request)) as chunks:
            async for chunk in chunks:
                self.num_cached_tokens = chunk.num_cached_tokens or self.num_cached_tokens
                piece = chunk.piece
                if piece.ids or piece.text or piece.finish_reason:
                    self._pieces.put_nowait(piece)
                if piece.finish_reason:
                    return
        raise UpstreamError("the stream ended before the reply did", UNREACHABLE)

    def _end(self, task: asyncio.Task[None]) -> None:
        """Tell whoever reads how it ended, and the backend whether the other server failed."""
        error = None if task.cancelled() else task.exception()
        if task.cancelled():
            self._pieces.put_nowait(Piece(finish_reason="cancelled"))
        elif isinstance(error, UpstreamError):
            sentence = f"the other server, {self._backend.upstream.address}: {error}"
            is_passing = error.code in (UNREACHABLE, BUSY)
            status, retry_after = (503, RETRY_SECONDS) if is_passing else (502, None)
            self._pieces.put_nowait(ApiError(status, error.code, sentence, retry_after=retry_after))
        elif error is not None:
            log.error("a reply of %s", self._backend.upstream.address, exc_info=error)
            self._pieces.put_nowait(ApiError(500, "reply_failed", f"the reply: it failed ({error})"))
        self._backend.discard(self, error if isinstance(error, UpstreamError) else None)
