"""A model that is open and knows how to speak: from the turns of a conversation to a reply that grows."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refrain.chat import encoding as chat
from refrain.chat.encoding import ChatTokenizer
from refrain.chat.records import Message
from refrain.generation import grammar as constraint
from refrain.generation import sampling
from refrain.generation.engine import Engine
from refrain.generation.sequence import Reply
from refrain.runtime import loading as runtime
from refrain.runtime.detokenizer import Detokenizer


@dataclass(frozen=True)
class Terms:
    """What is asked of every reply: how its words are chosen, what it must be, where it ends at the latest."""

    manner: sampling.Manner
    schema: dict[str, Any] | None
    regex: str | None
    limit: int
    stops: tuple[str, ...]
    logprobs: int = 0  # of each token, so many of the likeliest


@dataclass(frozen=True)
class Voice:
    """The same turns get the same reply, whatever was said before and whoever speaks at the same time."""

    engine: Engine
    language: ChatTokenizer
    context: int
    terms: Terms
    grammar: constraint.Grammar | None


def opened(folder: Path, terms: Terms, threads: int | None, rows: int = 1, lookup: bool = False) -> Voice:
    """The model in a folder, ready for `rows` replies at once; ValueError when that or the terms are impossible."""
    sampling.check(terms.manner, None)  # a large model takes its time to open
    lm, language = runtime.load_model(folder, threads), chat.load(folder)
    sampling.check(terms.manner, language.tokenizer.get_vocab_size())
    free = terms.schema is None and terms.regex is None
    grammar = None if free else constraint.Grammar(language, terms.schema, terms.regex)
    return Voice(Engine(lm, rows, lookup), language, lm.context, terms, grammar)


def begun(voice: Voice, ids: list[int]) -> Reply:
    """A reply to a prompt, for the engine to feed."""
    terms, language, grammar = voice.terms, voice.language, voice.grammar
    sampler = sampling.Sampler(terms.manner, ids, constraint.Constraint(grammar) if grammar else None)
    own = () if grammar else language.stop_strings  # inside of a JSON string they are text
    words = Detokenizer(language.tokenizer, (*own, *terms.stops))
    return Reply(ids, min(terms.limit, voice.context - len(ids)), language.stop_ids, words, sampler, terms.logprobs)


def spoken(voice: Voice, ids: list[int]) -> Iterator[str]:
    """Pieces of the reply to a prompt, each as soon as it is certain; it leaves the engine when nobody listens."""
    reply = begun(voice, ids)
    voice.engine.admit(reply)
    try:
        while True:
            if piece := reply.piece():
                yield piece
            if reply.reason is not None:
                return
            voice.engine.step()
    finally:
        voice.engine.leave(reply)


def fitted(voice: Voice, system: str, turns: list[Message]) -> tuple[list[Message], list[int]]:
    """The newest turns that leave room for a reply, and their ids; ValueError if the last is too long."""
    before: list[Message] = [{"role": "system", "content": system}] if system else []
    room = min(voice.terms.limit, voice.context // 2)
    ids = chat.encode_prompt(voice.language, [*before, *turns])
    while len(ids) + room > voice.context and len(turns) > 1:
        turns = turns[2:]  # a question and its reply: templates insist that a user speaks first
        ids = chat.encode_prompt(voice.language, [*before, *turns])
    if len(ids) >= voice.context:
        raise ValueError(f"the question: {len(ids)} tokens, but the model sees {voice.context}; shorten it")
    return turns, ids
