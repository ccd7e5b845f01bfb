"""What is said again is what would be said again: every fact that decides a reply is in its key."""

import asyncio
from dataclasses import fields, replace
from types import SimpleNamespace

import pytest
import traced_model

from refrain.chat.encoding import ChatTokenizer
from refrain.generation.grammar import Grammar
from refrain.generation.request import GenerationRequest
from refrain.generation.sampling import SamplingParams
from refrain.serving import response_cache
from refrain.serving.backends.protocol import Piece
from refrain.serving.errors import ApiError
from refrain.serving.models.model_pool import ModelPool
from refrain.serving.response_cache import ResponseCache
from refrain.serving.settings.schema import CacheSettings, ServeSettings

TOKENIZER = ChatTokenizer(traced_model.tokenizer(), traced_model.TEMPLATE, {"eos_token": "<|im_end|>"})
GREEDY = GenerationRequest([72, 101, 108], SamplingParams(), 6, logprobs=2)
SAMPLED = replace(GREEDY, sampling=SamplingParams(temperature=0.5, seed=3))
MODEL = SimpleNamespace(seal="a", variant="int8")
OTHER_VALUES = {  # of fields whose present value tells no type
    "grammar": Grammar(TOKENIZER, None, "[0-9]+"),
    "logprobs": 0,
}


def change(name, value):
    """Another value of the kind; KeyError for a field of a kind that this test does not know yet."""
    if name in OTHER_VALUES:
        return OTHER_VALUES[name]
    changes = {
        bool: lambda: not value,
        int: lambda: value + 1,
        float: lambda: value + 2**-40,
        str: lambda: f"{value}x",
        list: lambda: [*value, 0],
        tuple: lambda: (*value, "x"),
        dict: lambda: {**value, 7: 0.5},
    }
    return changes[type(value)]()


def key(request=SAMPLED, model=MODEL, threads=2):
    return response_cache.request_key(model, request, threads)


def changed_requests():
    for each in fields(GenerationRequest):
        value = getattr(SAMPLED, each.name)
        if each.name == "sampling":
            for inner in fields(SamplingParams):
                sampling = replace(value, **{inner.name: change(inner.name, getattr(value, inner.name))})
                yield f"sampling.{inner.name}", replace(SAMPLED, sampling=sampling)
        else:
            yield each.name, replace(SAMPLED, **{each.name: change(each.name, value)})


@pytest.mark.parametrize(("name", "request_"), changed_requests())
def test_any_field_that_changes_changes_the_key(name, request_):
    assert (key(request_) == key()) == (name == "is_seed_drawn"), name


def test_what_decides_beside_the_request_is_in_the_key():
    others = [SimpleNamespace(seal="b", variant="int8"), SimpleNamespace(seal="a", variant="int4")]
    keys = {key(), key(threads=1), key(threads=None), *(key(model=model) for model in others)}
    assert len(keys) == 5
    grammars = [Grammar(TOKENIZER, None, pattern) for pattern in ("[0-9]+", "[0-8]+", "[0-9]+")]
    first, second, third = (key(replace(GREEDY, grammar=grammar)) for grammar in grammars)
    assert first == third != second
    seeds = [replace(GREEDY, sampling=SamplingParams(seed=seed)) for seed in (1, 2)]
    assert key(seeds[0]) == key(seeds[1]), "at temperature 0 nothing is drawn"
    with pytest.raises(TypeError, match="set: it has no form in a key"):
        key(replace(GREEDY, stop_strings={"a"}))


@pytest.fixture(scope="module")
def settings(served_folder):
    return ServeSettings(model=str(served_folder), threads=1)


@pytest.fixture
def ask_of(settings):
    """A function that runs a coroutine with a function that asks through a cache: what was said, and whence."""

    def run(act, **cache_settings):
        async def within():
            pool = ModelPool(settings)
            model = await pool.find(None)
            now = [0.0]
            cache = ResponseCache(CacheSettings(**cache_settings), lambda: now[0])

            async def ask(request=GREEDY, **limits):
                generation = cache.submit(model, request, limits.get("deadline", float("inf")), 1)
                whole = Piece()
                async for piece in generation:
                    whole.extend(piece)
                return generation.cache, whole

            try:
                return await act(ask, cache, now, model)
            finally:
                pool.close()

        return asyncio.run(within())

    return run


def test_a_reply_is_said_again_to_the_last_bit(ask_of):
    async def act(ask, cache, now, model):
        (first, said), (second, again) = await ask(), await ask()
        assert (first, second, cache.hits, cache.misses, len(cache)) == ("miss", "hit", 1, 1, 1)
        assert said == again and len(said.logprobs) == 6 and said.finish_reason == "length"
        assert [(await ask(SAMPLED))[0] for _ in range(2)] == ["miss", "hit"]

    ask_of(act)


def test_what_nobody_can_ask_for_again_is_not_kept(ask_of):
    drawn = replace(GREEDY, is_seed_drawn=True)

    async def act(ask, cache, now, model):
        assert [(await ask(replace(drawn, sampling=SAMPLED.sampling)))[0] for _ in range(2)] == ["off", "off"] and len(
            cache
        ) == 0
        assert [(await ask(drawn))[0] for _ in range(2)] == ["miss", "hit"], "but for the likeliest tokens"

    ask_of(act)


def test_what_was_cut_is_not_kept(ask_of):
    async def act(ask, cache, now, model):
        with pytest.raises(ApiError, match="waited too long"):
            await ask(deadline=0.0)
        generation = cache.submit(model, replace(GREEDY, max_new_tokens=1000), float("inf"), 1)
        reasons = []
        async for piece in generation:
            generation.cancel()
            reasons.append(piece.finish_reason)
        assert reasons[-1] == "cancelled" and len(cache) == 0 and cache.misses == 2

    ask_of(act)


def test_bytes_are_bounded_and_the_least_recently_used_leave(ask_of):
    async def act(ask, cache, now, model):
        first, second, third = (replace(GREEDY, prompt_ids=[number]) for number in range(3))
        await ask(first)
        most = int(2.5 * cache.num_bytes)
        cache.configure(CacheSettings(max_bytes=most))
        for request in (second, first, third):
            await ask(request)
        assert [(await ask(request))[0] for request in (first, third, second)] == ["hit", "hit", "miss"]
        assert cache.num_bytes <= most and len(cache) == 2
        cache.configure(CacheSettings(max_bytes=0))
        assert (cache.num_bytes, len(cache)) == (0, 0) and (await ask(first))[0] == "off"

    ask_of(act)


def test_a_reply_is_kept_for_a_while(ask_of):
    async def act(ask, cache, now, model):
        await ask()
        now[0] = 9.9
        assert (await ask())[0] == "hit"
        now[0] = 10.0
        assert (await ask())[0] == "miss", "a hit does not prolong it"

    ask_of(act, ttl=10.0)


def test_a_share_of_hits_is_made_again_and_compared(ask_of):
    async def act(ask, cache, now, model):
        for _ in range(7):
            await ask()
        assert (cache.hits, cache.checks, cache.mismatches) == (6, 2, 0)
        (other,) = cache._entries
        cache.store(other, cache._entries[other].content.replace(b"length", b"lengtH"))
        assert [(await ask())[0] for _ in range(4)] == ["hit", "hit", "hit", "miss"]
        assert (cache.checks, cache.mismatches, len(cache)) == (3, 1, 1)

    ask_of(act, check_every=3)
