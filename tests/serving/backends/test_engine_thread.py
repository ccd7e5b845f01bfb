"""An engine in its thread: who leaves, comes late, breaks or finds no room harms nobody else."""

import asyncio
import time

import numpy as np
import pytest

from refrain.chat import encoding
from refrain.generation.request import GenerationRequest
from refrain.generation.sampling import SamplingParams
from refrain.runtime import loading
from refrain.serving.backends.engine_thread import EngineThread
from refrain.serving.errors import ApiError

GREEDY = SamplingParams()
FOREVER = 1000


@pytest.fixture(scope="module")
def folder(served_folder):
    return served_folder / "best"


@pytest.fixture
def start(folder):
    """A function that starts a backend, until the end of the test."""
    backends = []

    def start(lm=None, slots=2, waiting=8, max_tokens=None):
        lm = lm or loading.load_model(folder, 1)
        backends.append(EngineThread(lm, encoding.load_tokenizer(folder), slots, waiting, max_tokens))
        return backends[-1]

    yield start
    for backend in backends:
        backend.close()


def ask(text, limit=20, **fields):
    return GenerationRequest(list(text.encode()), fields.pop("sampling", GREEDY), limit, **fields)


async def read(generation):
    """The text, the ids, and why it ended."""
    pieces = [piece async for piece in generation]
    assert [piece.finish_reason for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    ids = [token for piece in pieces for token in piece.ids]
    return "".join(piece.text for piece in pieces), ids, pieces[-1].finish_reason


async def first_piece(generation):
    return await anext(aiter(generation))


async def until(condition):
    """Wait until something is so, by looking."""
    while not condition():
        await asyncio.sleep(0.001)


class Broken:
    """A model that fails, or says nan, once it has decoded so many times."""

    def __init__(self, lm, steps, with_nan):
        self.lm, self.steps, self.with_nan, self.context = lm, steps, with_nan, lm.context

    def allocate_slots(self, count):
        self.slots = self.lm.allocate_slots(count)
        return self

    def decode(self, ids):
        self.steps -= 1
        logits = self.slots.decode(ids)
        if self.steps == 0 and self.with_nan:
            logits[0] = np.nan
        elif self.steps == 0:
            raise RuntimeError("the device is gone")
        return logits

    def __getattr__(self, name):
        return getattr(self.slots, name)


def test_replies_are_what_they_are_alone(start):
    async def main():
        backend, texts = start(slots=3), [f"{number} " * (number * 5 + 1) for number in range(8)]
        alone = [await read(backend.submit(ask(text))) for text in texts]
        together = await asyncio.gather(*(read(backend.submit(ask(text))) for text in texts))
        assert together == alone and {reason for _, _, reason in alone} == {"length"}

    asyncio.run(main())


@pytest.mark.parametrize("place", ["queue", "prompt", "word"])
def test_who_is_cancelled_leaves_at_once_and_changes_nobody(place, start):
    async def main():
        backend = start(slots=1 if place == "queue" else 2)
        right = await read(backend.submit(ask("other", 60)))
        other = backend.submit(ask("other", 60))
        never_ends = SamplingParams(logit_bias=dict.fromkeys(backend.tokenizer.stop_ids, -100.0))
        leaving = backend.submit(ask("x" * (200 if place == "prompt" else 5), FOREVER, sampling=never_ends))
        if place == "word":
            await first_piece(leaving)
        leaving.cancel()
        assert (await read(leaving))[2] == "cancelled"
        assert await read(other) == right
        await until(lambda: backend.num_running() == backend.num_waiting() == 0)
        leaving.cancel()  # does nothing any more

    asyncio.run(main())


def test_a_reply_that_breaks_ends_alone(start, folder):
    async def main():
        lm = loading.load_model(folder, 1)
        right = await read(start(lm).submit(ask("stays", 30)))
        backend = start(Broken(lm, steps=4, with_nan=True))
        breaks = backend.submit(ask("breaks", FOREVER))
        stays = backend.submit(ask("stays", 30))
        with pytest.raises(ApiError, match="logits: the highest is nan") as raised:
            await read(breaks)
        assert (raised.value.status, raised.value.code) == (500, "reply_failed")
        assert await read(stays) == right and backend.is_alive()

    asyncio.run(main())


def test_an_engine_that_fails_tells_all_and_takes_no_more(start, folder):
    async def main():
        backend = start(Broken(loading.load_model(folder, 1), steps=3, with_nan=False), slots=1)

        async def say(word):  # the second may come too late to be taken
            return await read(backend.submit(ask(word, FOREVER)))

        for error in await asyncio.gather(say("one"), say("two"), return_exceptions=True):
            assert (error.status, error.code) == (503, "engine_failed") and "the device is gone" in error.message
        await until(lambda: not backend.is_alive())
        with pytest.raises(ApiError, match="the device is gone"):
            backend.submit(ask("three"))

    asyncio.run(main())


def test_a_queue_that_is_full_refuses_and_says_when_to_come_again(start):
    async def main():
        backend = start(slots=1, waiting=2)
        running = backend.submit(ask("one", FOREVER))
        await first_piece(running)
        waiting = [backend.submit(ask(text, 2)) for text in "ab"]
        with pytest.raises(ApiError) as raised:
            backend.submit(ask("c"))
        assert (raised.value.status, raised.value.code) == (429, "queue_full")
        assert int(raised.value.headers()["Retry-After"]) >= 1
        running.cancel()
        assert [(await read(each))[2] for each in waiting] == ["length"] * 2

    asyncio.run(main())


@pytest.mark.parametrize("max_tokens", [None, 300])
def test_more_than_the_model_sees_is_refused_and_nobody_else_harmed(max_tokens, start):
    async def main():
        backend = start(max_tokens=max_tokens)
        with pytest.raises(ApiError, match=f"but the model sees {backend.context}") as raised:
            backend.submit(ask("x" * (backend.context - 3), 4))
        assert (raised.value.status, raised.value.code) == (400, "context_length_exceeded")
        assert (await read(backend.submit(ask("x" * (backend.context - 3), 3))))[2] == "length"

    asyncio.run(main())


def test_without_a_queue_there_are_slots_still(start):
    async def main():
        backend = start(slots=2, waiting=0)
        assert [(await read(backend.submit(ask(text, 3))))[2] for text in "ab"] == ["length"] * 2

    asyncio.run(main())


def test_a_late_reply_ends_with_what_it_has_said_and_one_that_waits_is_refused(start):
    async def main():
        backend = start(slots=1)
        running = backend.submit(ask("one", FOREVER), time.monotonic() + 0.05)
        waiting = backend.submit(ask("two"), time.monotonic() - 1)
        with pytest.raises(ApiError) as raised:
            await read(waiting)
        assert (raised.value.status, raised.value.code) == (408, "queue_timeout")
        assert (await read(running))[2] in ("timeout", "length")

    asyncio.run(main())


def test_what_does_not_fit_beside_the_others_waits_for_them(start):
    async def main():
        backend = start(slots=4, max_tokens=200)
        assert backend.context == 200
        replies = [backend.submit(ask("x" * 60, 60)) for _ in range(4)]
        most = 0
        pending = asyncio.gather(*map(read, replies))
        while not pending.done():
            most = max(most, backend.num_running())
            await asyncio.sleep(0)
        assert len({text for text, _, _ in await pending}) == 1 and most == 1

    asyncio.run(main())


def test_a_backend_that_is_closed_fails_what_runs(start):
    async def main():
        backend = start()
        running = backend.submit(ask("one", FOREVER))
        await first_piece(running)
        await asyncio.to_thread(backend.close)
        with pytest.raises(ApiError, match="ending"):
            await read(running)

    asyncio.run(main())
