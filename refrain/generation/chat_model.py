"""A model with the options of every reply, as commands have it: from a conversation to a reply that grows."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from refrain.chat import encoding
from refrain.chat.encoding import ChatTokenizer
from refrain.chat.records import Message
from refrain.generation import model, options
from refrain.generation.model import Model, Stream
from refrain.generation.options import Options


@dataclass(frozen=True)
class ChatModel:
    """The same turns get the same reply, whatever was said before and whoever speaks at the same time."""

    model: Model
    options: Options

    @property
    def context(self) -> int:
        return self.model.context

    @property
    def tokenizer(self) -> ChatTokenizer:
        return self.model.tokenizer

    @property
    def max_new_tokens(self) -> int:
        """Tokens of a reply at most, where the prompt leaves so many."""
        return self.options.get("max_tokens") or self.context

    def start(self, prompt_ids: list[int]) -> Stream:
        """The reply to a prompt."""
        return self.model.start(prompt_ids, self.options, typed=True)


def load(
    folder: Path, given: Options, threads: int | None, slots: int = 1, prompt_lookup_num_tokens: int = 0
) -> ChatModel:
    """The model in a folder, for so many sequences at once; ValueError when that or an option is impossible."""
    options.sampling_params(given, None)  # a large model takes its time to open
    opened = model.load(folder, threads=threads, max_num_seqs=slots, prompt_lookup_num_tokens=prompt_lookup_num_tokens)
    opened.check(given)
    return ChatModel(opened, given)


def stream(model: ChatModel, prompt_ids: list[int]) -> Generator[str, None, bool]:
    """Pieces of the reply to a prompt, each as soon as it is certain; it leaves the engine when nobody reads on.

    Returns whether the reply was cut because the model sees no more tokens.
    """
    started = model.start(prompt_ids)
    yield from started
    sequence = started.reply.sequence
    return sequence.finish_reason == "length" and len(prompt_ids) + len(sequence.ids) >= model.context


def truncate_history(model: ChatModel, system: str, turns: list[Message]) -> tuple[list[Message], list[int]]:
    """The newest turns that leave room for a reply, and their ids; ValueError if the last is too long."""
    system_turn: list[Message] = [{"role": "system", "content": system}] if system else []
    room = min(model.max_new_tokens, model.context // 2)
    prompt_ids = encoding.encode_prompt(model.tokenizer, [*system_turn, *turns])
    while len(prompt_ids) + room > model.context and len(turns) > 1:
        turns = turns[2:]  # a question and its reply: templates insist that a user speaks first
        prompt_ids = encoding.encode_prompt(model.tokenizer, [*system_turn, *turns])
    if len(prompt_ids) >= model.context:
        raise ValueError(f"the question: {len(prompt_ids)} tokens, but the model sees {model.context}; shorten it")
    return turns, prompt_ids
