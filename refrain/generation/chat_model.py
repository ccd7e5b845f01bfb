"""An open model with its tokenizer and settings: from the turns of a conversation to a reply that grows."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refrain.chat import encoding
from refrain.chat.encoding import ChatTokenizer
from refrain.chat.records import Message
from refrain.generation import request, sampling
from refrain.generation.engine import Engine
from refrain.generation.grammar import Grammar
from refrain.generation.request import GenerationRequest
from refrain.generation.sequence import Sequence
from refrain.runtime import loading


@dataclass(frozen=True)
class GenerationConfig:
    """How every reply is made: how its tokens are sampled, what it must match, where it ends at the latest."""

    sampling: sampling.SamplingParams
    schema: dict[str, Any] | None
    regex: str | None
    max_new_tokens: int
    stop_strings: tuple[str, ...]
    logprobs: int | None = None  # None for none, else how many of the likeliest beside each token


@dataclass(frozen=True)
class ChatModel:
    """The same turns get the same reply, whatever was said before and whoever speaks at the same time."""

    engine: Engine
    tokenizer: ChatTokenizer
    context: int
    config: GenerationConfig
    grammar: Grammar | None


def load(
    folder: Path, config: GenerationConfig, threads: int | None, slots: int = 1, lookup: bool = False
) -> ChatModel:
    """The model in a folder, ready for so many sequences at once; ValueError when that or the config is impossible."""
    sampling.validate(config.sampling, None)  # a large model takes its time to open
    lm, tokenizer = loading.load_model(folder, threads), encoding.load_tokenizer(folder)
    sampling.validate(config.sampling, tokenizer.tokenizer.get_vocab_size())
    is_free = config.schema is None and config.regex is None
    grammar = None if is_free else Grammar(tokenizer, config.schema, config.regex)
    return ChatModel(Engine(lm, slots, lookup), tokenizer, lm.context, config, grammar)


def start_sequence(model: ChatModel, prompt_ids: list[int]) -> Sequence:
    """The reply to a prompt, for the engine to run."""
    config, max_new_tokens = model.config, min(model.config.max_new_tokens, model.context - len(prompt_ids))
    return request.start_sequence(
        model.tokenizer,
        GenerationRequest(
            prompt_ids, config.sampling, max_new_tokens, config.stop_strings, model.grammar, config.logprobs
        ),
    )


def stream(model: ChatModel, prompt_ids: list[int]) -> Generator[str, None, bool]:
    """Pieces of the reply to a prompt, each as soon as it is certain; it leaves the engine when nobody reads on.

    Returns whether the reply was cut because the model sees no more tokens.
    """
    sequence = start_sequence(model, prompt_ids)
    model.engine.add(sequence)
    try:
        while True:
            if piece := sequence.new_text():
                yield piece
            if sequence.error is not None:
                raise sequence.error
            if sequence.finish_reason is not None:
                return sequence.finish_reason == "length" and len(prompt_ids) + len(sequence.ids) >= model.context
            model.engine.step()
    finally:
        model.engine.remove(sequence)


def truncate_history(model: ChatModel, system: str, turns: list[Message]) -> tuple[list[Message], list[int]]:
    """The newest turns that leave room for a reply, and their ids; ValueError if the last is too long."""
    system_turn: list[Message] = [{"role": "system", "content": system}] if system else []
    room = min(model.config.max_new_tokens, model.context // 2)
    prompt_ids = encoding.encode_prompt(model.tokenizer, [*system_turn, *turns])
    while len(prompt_ids) + room > model.context and len(turns) > 1:
        turns = turns[2:]  # a question and its reply: templates insist that a user speaks first
        prompt_ids = encoding.encode_prompt(model.tokenizer, [*system_turn, *turns])
    if len(prompt_ids) >= model.context:
        raise ValueError(f"the question: {len(prompt_ids)} tokens, but the model sees {model.context}; shorten it")
    return turns, prompt_ids
