"""Grammars are compiled beside the event loop, kept, and bounded."""

import asyncio

import pytest

from refrain.serving.api.response_format import GrammarSource, schema_source
from refrain.serving.errors import ApiError
from refrain.serving.requests import grammars
from refrain.serving.requests.grammars import GrammarCache

WIDE = {"type": "object", "properties": {f"a{nth}": {"type": "string"} for nth in range(3000)}}


@pytest.fixture(scope="module")
def model(server):
    return server.server.models.default


def compile_all(cache, model, *sources):
    async def run():
        return [await cache.compile(model, source) for source in sources]

    return asyncio.run(run())


def regex(text):
    return GrammarSource("regex", text, "guided_regex")


def test_the_same_source_is_compiled_once_and_few_are_kept(model, monkeypatch):
    monkeypatch.setattr(grammars, "MOST_GRAMMARS", 2)
    cache = GrammarCache()
    first, second, *_ = compile_all(cache, model, regex("a"), regex("b"), regex("a"))
    assert compile_all(cache, model, regex("a"), regex("c")) == [first, *compile_all(cache, model, regex("c"))]
    assert compile_all(cache, model, regex("a")) == [first] and compile_all(cache, model, regex("b")) != [second]
    cache.close()


@pytest.mark.parametrize("source", [
    regex("("), regex("a" * 200_001), schema_source({"type": "nothing"}, "guided_json"),
    schema_source(WIDE, "guided_json"),
    schema_source({"$ref": "#/$defs/none"}, "guided_json"), GrammarSource("lark", "start: missing", "tools"),
], ids=lambda source: source.text[:30])  # fmt: skip
def test_what_cannot_be_followed_is_refused_with_its_place(model, source):
    cache = GrammarCache()
    with pytest.raises(ApiError) as caught:
        compile_all(cache, model, source)
    assert (caught.value.status, caught.value.code) == (400, "invalid_schema")
    assert caught.value.param == source.param and caught.value.message.startswith(source.param)
    cache.close()


def test_who_waits_too_long_is_refused(model, monkeypatch):
    monkeypatch.setattr(grammars, "MOST_SECONDS", 0)
    cache = GrammarCache()
    with pytest.raises(ApiError, match="make it simpler"):
        compile_all(cache, model, regex("[a-z]+@[a-z]+"))
    cache.close()
