"""What a call from Python gives back: the text, why it ended, and what says it again."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from refrain.chat.encoding import ChatTokenizer
from refrain.chat.records import Message
from refrain.generation.sampling import TokenLogprobs
from refrain.generation.sequence import Sequence

FINISH_REASONS = {"end": "stop", "stop": "stop", "length": "length"}  # OpenAI's words


class TopLogprob(NamedTuple):
    """One of the likeliest tokens at some place."""

    token: str
    logprob: float
    id: int


class TokenLogprob(NamedTuple):
    """A token with its log-probability, as the model has it before temperature, penalties and grammar."""

    token: str  # its text; a sign in place of each part of a character
    logprob: float
    id: int
    top: list[TopLogprob]  # falling; as many as were asked for


@dataclass(frozen=True)
class Usage:
    """Tokens, counted as the server counts them."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int  # of the prompt, which another one had left in memory


@dataclass(frozen=True)
class Answer:
    """A reply. The same prompt and options with this seed say it again, byte for byte."""

    text: str
    ids: list[int]
    finish_reason: str  # stop, length, or cancelled where nobody read on
    seed: int
    logprobs: list[TokenLogprob] | None  # of each id, where they were asked for
    usage: Usage
    refrain: dict[str, Any]  # which model it was, and what the server says of an answer

    def __str__(self) -> str:
        return self.text

    @property
    def message(self) -> Message:
        """The assistant's turn, for the conversation to go on."""
        return {"role": "assistant", "content": self.text}


def count_tokens(sequence: Sequence) -> Usage:
    """The usage of a reply, so far."""
    return Usage(len(sequence.prompt_ids), len(sequence.ids), sequence.num_cached_tokens)


def name_logprobs(tokenizer: ChatTokenizer, ids: list[int], found: list[TokenLogprobs]) -> list[TokenLogprob]:
    """Log-probabilities with the texts of their tokens."""

    def text(token: int) -> str:
        return str(tokenizer.tokenizer.decode([token], skip_special_tokens=False))

    return [
        TokenLogprob(
            text(token), own.chosen, token, [TopLogprob(text(other), value, other) for other, value in own.top]
        )
        for token, own in zip(ids, found, strict=True)
    ]
