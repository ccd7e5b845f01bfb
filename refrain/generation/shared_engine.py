"""One engine for all threads of a program: whoever waits for a token makes the next step, for everybody."""

import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator

from refrain.chat.encoding import ChatTokenizer
from refrain.generation import request as generation_request
from refrain.generation.engine import Engine
from refrain.generation.request import GenerationRequest
from refrain.runtime.loading import Session


class Reply:
    """A reply that grows while it is iterated over, in a thread or in an event loop; it leaves when nobody reads on."""

    def __init__(self, engine: "SharedEngine", request: GenerationRequest) -> None:
        self.request, self._engine = request, engine
        self.is_stream = False  # read as it comes, so that long prompts of others must not hold it up
        self.is_cancelled = False
        self._num_read = 0
        self.restart()

    def restart(self) -> None:
        """Say it again from the beginning, which gives the same; what was read is not read again."""
        self.sequence = generation_request.start_sequence(self._engine.tokenizer, self.request)

    def cancel(self) -> None:
        """Say no more; nothing happens to a reply that has ended."""
        self._engine.cancel(self)

    def has_news(self) -> bool:
        """Whether there is text that was not read, or none comes any more."""
        return self.has_ended() or len(self.sequence.text) > self._num_read

    def has_ended(self) -> bool:
        return self.is_cancelled or self.sequence.finish_reason is not None

    def __iter__(self) -> Iterator[str]:
        """Pieces of the text, each as soon as it is certain; ValueError when the reply cannot go on."""
        try:
            while True:
                while not self.has_news():
                    self._engine.advance(self)
                if piece := self._read():
                    yield piece
                else:
                    return
        finally:
            self.cancel()

    async def __aiter__(self) -> AsyncIterator[str]:
        """The same in an event loop, which is never blocked: steps are made in threads of its executor."""
        import asyncio  # whoever awaits has it; a command is quicker without

        try:
            while True:
                while not self.has_news():
                    await asyncio.to_thread(self._engine.advance, self)
                if piece := self._read():
                    yield piece
                else:
                    return
        finally:
            self.cancel()

    def _read(self) -> str:
        if (error := self.sequence.error) is not None:
            raise ValueError(str(error)) from error
        begin, self._num_read = self._num_read, len(self.sequence.text)
        return self.sequence.text[begin:]


class SharedEngine:
    """Replies in up to `slots` slots, none changed by those beside it; the others wait for their turn, in order.

    There is no thread of its own: a reply that nobody waits for grows only when another one does.
    """

    def __init__(self, lm: Session, tokenizer: ChatTokenizer, slots: int, num_draft_tokens: int = 0) -> None:
        self._lm, self.tokenizer, self._num_slots = lm, tokenizer, slots
        self._engine, self._num_draft_tokens = Engine(lm, slots, num_draft_tokens), num_draft_tokens
        self._waiting: deque[Reply] = deque()
        self._running: list[Reply] = []
        self._turn, self._is_stepping, self._is_closed = threading.Condition(), False, False

    def add(self, request: GenerationRequest) -> Reply:
        """A reply that begins when it is its turn."""
        reply = Reply(self, request)
        with self._turn:
            self._require_open()
            self._waiting.append(reply)
        return reply

    def advance(self, reply: Reply) -> None:
        """Make one step, or wait for that of another thread; nothing where the reply has news already."""
        with self._turn:
            self._require_open()
            if reply.has_news():
                return
            if self._is_stepping:
                self._turn.wait()
                return
            self._is_stepping = True
        try:
            self._step()
        finally:
            with self._turn:
                self._is_stepping = False
                self._turn.notify_all()

    def cancel(self, reply: Reply) -> None:
        """End a reply; its slot is free with the next step."""
        with self._turn:
            reply.is_cancelled = reply.is_cancelled or reply.sequence.finish_reason is None
            self._turn.notify_all()

    def close(self) -> None:
        """Let go of the model, after the step that is being made; replies that have not ended fail."""
        with self._turn:
            while self._is_stepping:
                self._turn.wait()
            self._is_closed = True
            self._running, self._waiting = [], deque()
            self.__dict__.pop("_engine", None)  # with them the session and its memory
            self.__dict__.pop("_lm", None)

    def open_lm(self) -> Session:
        """The model itself; ValueError when it is closed."""
        self._require_open()
        return self._lm

    def _require_open(self) -> None:
        if self._is_closed:
            raise ValueError("the model: it is closed; load it again")

    def _step(self) -> None:
        """One step; an exception, of Ctrl-C perhaps, may come in the midst of it, and then all begin again."""
        try:
            self._leave()
            self._enter()
            self._engine.step()
            self._engine.remove_finished()
            self._running = [reply for reply in self._running if reply.sequence.finish_reason is None]
        except BaseException:
            self._restart()
            raise

    def _leave(self) -> None:
        for reply in [reply for reply in self._running if reply.is_cancelled]:
            self._running.remove(reply)
            self._engine.remove(reply.sequence)

    def _enter(self) -> None:
        """Let those who are next begin: with whole prompts, but where a stream would wait for them."""
        while True:
            with self._turn:
                self._waiting = deque(reply for reply in self._waiting if not reply.is_cancelled)
                if not self._waiting or not self._engine.has_room(self._waiting[0].sequence):
                    return
                self._running.append(reply := self._waiting.popleft())
            self._engine.begin(reply.sequence)
            if any(each.is_stream for each in self._running):
                return
            while self._engine.entering is not None:
                self._engine.prefill_chunk()
            self._engine.remove_finished()

    def _restart(self) -> None:
        """Empty slots, and all replies in the queue."""
        self._engine = Engine(self._lm, self._num_slots, self._num_draft_tokens)
        with self._turn:
            left = [reply for reply in self._running if not reply.has_ended()]
            for reply in left:
                reply.restart()
            self._waiting.extendleft(reversed(left))
            self._running = []
