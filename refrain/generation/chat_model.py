"""A model that is open and knows how to speak: from the turns of a conversation to a reply that grows."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refrain.chat import encoding
from refrain.chat.encoding import ChatTokenizer
from refrain.chat.records import Message
from refrain.generation import grammar as constraint
from refrain.generation import sampling
from refrain.generation.engine import Engine
from refrain.generation.sequence import Sequence
from refrain.runtime import loading
from refrain.runtime.detokenizer import Detokenizer


@dataclass(frozen=True)
class GenerationConfig:
    """What is asked of every reply: how its words are chosen, what it must be, where it ends at the latest."""

    sampling: sampling.SamplingParams
    schema: dict[str, Any] | None
    regex: str | None
    max_new_tokens: int
    stop_strings: tuple[str, ...]
    logprobs: int = 0  # of each token, so many of the likeliest


@dataclass(frozen=True)
class ChatModel:
    """The same turns get the same reply, whatever was said before and whoever speaks at the same time."""

    engine: Engine
    chat: ChatTokenizer
    context: int
    terms: GenerationConfig
    grammar: constraint.Grammar | None


def load(folder: Path, terms: GenerationConfig, threads: int | None, rows: int = 1, lookup: bool = False) -> ChatModel:
    """The model in a folder, ready for `rows` replies at once; ValueError when that or the terms are impossible."""
    sampling.validate(terms.sampling, None)  # a large model takes its time to open
    lm, language = loading.load_model(folder, threads), encoding.load_tokenizer(folder)
    sampling.validate(terms.sampling, language.tokenizer.get_vocab_size())
    free = terms.schema is None and terms.regex is None
    grammar = None if free else constraint.Grammar(language, terms.schema, terms.regex)
    return ChatModel(Engine(lm, rows, lookup), language, lm.context, terms, grammar)


def start_sequence(voice: ChatModel, ids: list[int]) -> Sequence:
    """A reply to a prompt, for the engine to feed."""
    terms, language, grammar = voice.terms, voice.chat, voice.grammar
    sampler = sampling.Sampler(terms.sampling, ids, constraint.GrammarState(grammar) if grammar else None)
    own = () if grammar else language.stop_strings  # inside of a JSON string they are text
    words = Detokenizer(language.tokenizer, (*own, *terms.stop_strings))
    return Sequence(
        ids, min(terms.max_new_tokens, voice.context - len(ids)), language.stop_ids, words, sampler, terms.logprobs
    )


def stream(voice: ChatModel, ids: list[int]) -> Iterator[str]:
    """Pieces of the reply to a prompt, each as soon as it is certain; it leaves the engine when nobody listens."""
    reply = start_sequence(voice, ids)
    voice.engine.add(reply)
    try:
        while True:
            if piece := reply.new_text():
                yield piece
            if reply.finish_reason is not None:
                return
            voice.engine.step()
    finally:
        voice.engine.remove(reply)


def truncate_history(voice: ChatModel, system: str, turns: list[Message]) -> tuple[list[Message], list[int]]:
    """The newest turns that leave room for a reply, and their ids; ValueError if the last is too long."""
    before: list[Message] = [{"role": "system", "content": system}] if system else []
    room = min(voice.terms.max_new_tokens, voice.context // 2)
    ids = encoding.encode_prompt(voice.chat, [*before, *turns])
    while len(ids) + room > voice.context and len(turns) > 1:
        turns = turns[2:]  # a question and its reply: templates insist that a user speaks first
        ids = encoding.encode_prompt(voice.chat, [*before, *turns])
    if len(ids) >= voice.context:
        raise ValueError(f"the question: {len(ids)} tokens, but the model sees {voice.context}; shorten it")
    return turns, ids
