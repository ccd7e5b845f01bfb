"""An engine in a thread of its own: requests come through a queue, and what is said goes to the event loop at once."""

import asyncio
import logging
import threading
import time
from collections import deque

from refrain.chat.encoding import ChatTokenizer
from refrain.generation import request as generation_request
from refrain.generation.engine import Engine
from refrain.generation.request import GenerationRequest
from refrain.runtime.loading import Session
from refrain.serving.backends.protocol import Piece
from refrain.serving.backends.reply import Reply
from refrain.serving.errors import SECONDS_OF_A_RESTART, ApiError

log = logging.getLogger(__name__)
IDLE_BEAT = 1.0  # seconds after which a thread without work shows that it lives
MOST_CHUNKS = 32  # of prompts that are read before anybody is heard
EXTRA_CHUNKS = 3  # ... and beside one before the next token of those who are
SLOWEST_STEP = 60.0  # seconds without a beat after which the thread is believed dead

Delivery = tuple[Reply, Piece | ApiError]


class EngineThread:
    """What backends.protocol.Backend promises, of any session; `submit` and `cancel` are for the event loop.

    Sequences run in up to `max_num_seqs` slots that share room for `max_tokens`; `max_waiting` more wait in order.
    ValueError where the session feeds no drafts exactly.
    """

    def __init__(
        self, lm: Session, tokenizer: ChatTokenizer, max_num_seqs: int, max_waiting: int,
        max_tokens: int | None = None, num_draft_tokens: int = 0,
    ) -> None:  # fmt: skip
        self.tokenizer, self.context = tokenizer, min(lm.context, max_tokens or lm.context)
        self._engine = Engine(lm, max_num_seqs, num_draft_tokens, max_tokens)
        self._max_waiting, self._max_tokens = max_waiting, max_tokens or max_num_seqs * lm.context
        self._replies: dict[int, Reply] = {}  # those in the engine, by the identity of their sequences
        self._waiting: deque[Reply] = deque()
        self._wake, self._is_closed, self._failure = threading.Condition(), False, ""
        self._last_beat, self._token_seconds = time.monotonic(), 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, request: GenerationRequest, deadline: float | None = None) -> Reply:
        """A reply that begins when it is its turn; at `deadline`, by time.monotonic, it ends.

        ApiError 400 for more than fits, 429 when the queue is full, 503 when the engine has failed or is closed.
        """
        self._loop = asyncio.get_running_loop()
        sequence = generation_request.start_sequence(self.tokenizer, request)
        if sequence.max_length > self.context:
            raise ApiError(400, "context_length_exceeded", f"prompt and reply: {sequence.max_length} tokens, "
                           f"but the model sees {self.context}; shorten the text")  # fmt: skip
        reply = Reply(sequence, deadline, self._cancel)
        with self._wake:
            if self._failure or self._is_closed:
                raise self._why_not()
            if len(self._waiting) >= self._max_waiting and not self._has_free_slot():
                raise ApiError(
                    429, "queue_full", f"the queue: {len(self._waiting)} requests wait; try again later",
                    retry_after=self._seconds_to_wait(),
                )  # fmt: skip
            self._waiting.append(reply)
            self._wake.notify()
        return reply

    def is_alive(self) -> bool:
        """Whether the thread lives and has made a step, or nothing, a short while ago."""
        is_late = time.monotonic() - self._last_beat > SLOWEST_STEP
        return self._thread.is_alive() and not self._failure and not is_late

    def num_running(self) -> int:
        """Replies in slots, or on their way into one."""
        return len(self._replies)

    def num_waiting(self) -> int:
        """Replies in the queue."""
        return len(self._waiting)

    def kv_tokens(self) -> tuple[int, int]:
        """Tokens that running sequences may reach and free slots keep, and how many there is room for."""
        return self._engine.reserved_tokens(), self._max_tokens

    def close(self) -> None:
        """End the thread after its step; what still runs fails with 503."""
        with self._wake:
            self._is_closed = True
            self._wake.notify()
        self._thread.join()

    def _has_free_slot(self) -> bool:
        return len(self._waiting) < self._engine.free_slots()

    def _seconds_to_wait(self) -> float:
        """Until the first of those that run is likely to end, by the measured time of a token."""
        left = [reply.sequence.max_length - len(reply.sequence.ids) for reply in list(self._replies.values())]
        return min(left, default=0) * self._token_seconds

    def _cancel(self, _reply: Reply) -> None:
        with self._wake:
            self._wake.notify()

    def _run(self) -> None:
        try:
            while True:
                with self._wake:
                    while not (self._waiting or self._replies or self._is_closed):
                        self._wake.wait(IDLE_BEAT)
                        self._last_beat = time.monotonic()
                    if self._is_closed:
                        return self._fail()
                self._deliver([*self._leave_early(), *self._step()])
        except Exception as error:
            log.exception("the engine has failed")
            self._failure = f"the engine has failed ({error}); restart the server"
            self._fail()

    def _enter(self) -> None:
        """Let the next one begin, where there is room."""
        with self._wake:
            if not self._waiting or not self._engine.has_room(self._waiting[0].sequence):
                return
            reply = self._waiting.popleft()
            self._replies[id(reply.sequence)] = reply
        reply.begin()
        self._engine.begin(reply.sequence)

    def _prefill(self) -> list[Delivery]:
        """Read prompts of those who are next, but for the chunk that the step reads.

        While nobody has heard anything, as of many who come at once, nobody's stream can stall; else more than that
        chunk is read only where more wait than run.
        """
        for _ in range(MOST_CHUNKS - 1 if self._is_silent() else self._extra_chunks()):
            self._enter()
            if self._engine.entering is None:
                break
            self._engine.prefill_chunk()
        self._enter()
        return self._collect() if any(sequence.finish_reason for sequence in self._engine.running) else []

    def _is_silent(self) -> bool:
        """Whether none of those who run has been heard."""
        return all(self._replies[id(sequence)].is_unheard for sequence in self._engine.running)

    def _extra_chunks(self) -> int:
        return min(EXTRA_CHUNKS, len(self._waiting) // max(1, len(self._engine.running)))

    def _leave_early(self) -> list[Delivery]:
        """Take out those who are cancelled or late."""
        now, gone = time.monotonic(), list[Delivery]()
        with self._wake:
            replies = [*self._replies.values(), *self._waiting]
        for reply in replies:
            is_late = reply.deadline is not None and now > reply.deadline
            if not (reply.is_cancelled or is_late):
                continue
            if self._replies.pop(id(reply.sequence), None) is not None:
                self._engine.remove(reply.sequence)
                reply.sequence.end("cancelled")
                gone.append((reply, reply.collect("cancelled" if reply.is_cancelled else "timeout")))
            else:
                with self._wake:
                    self._waiting.remove(reply)
                late = ApiError(408, "queue_timeout", "the request: it waited too long in the queue; try again later")
                gone.append((reply, Piece(finish_reason="cancelled") if reply.is_cancelled else late))
        return gone

    def _step(self) -> list[Delivery]:
        """One step of the engine, and what it has brought."""
        begin = time.monotonic()
        brought = self._prefill()
        if self._replies:
            self._engine.step()
        self._last_beat = time.monotonic()
        self._token_seconds += 0.1 * (self._last_beat - begin - self._token_seconds)
        return brought + self._collect()

    def _collect(self) -> list[Delivery]:
        """What those who run have said, and take out those who have ended."""
        brought: list[Delivery] = []
        for sequence in self._engine.running:
            reply = self._replies[id(sequence)]
            if sequence.error is not None:
                brought.append((reply, ApiError(500, "reply_failed", str(sequence.error))))
            else:
                brought.append((reply, reply.collect()))
        for sequence in self._engine.remove_finished():
            del self._replies[id(sequence)]
        return brought

    def _why_not(self) -> ApiError:
        """What is told to those who get no answer any more."""
        if self._failure:
            return ApiError(503, "engine_failed", self._failure, retry_after=SECONDS_OF_A_RESTART)
        return ApiError(503, "draining", "the server: it is ending; try again later", retry_after=SECONDS_OF_A_RESTART)

    def _fail(self) -> None:
        """Tell all who wait or run that nothing comes any more."""
        with self._wake:
            left = [*self._replies.values(), *self._waiting]
            self._replies, self._waiting = {}, deque()
        self._deliver([(reply, self._why_not()) for reply in left])

    def _deliver(self, deliveries: list[Delivery]) -> None:
        """Hand over to the event loop, all of a step in one call."""
        if deliveries and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(deliver, deliveries)


def deliver(deliveries: list[Delivery]) -> None:
    """Give each reply what has come for it."""
    for reply, piece in deliveries:
        reply.deliver(piece)
