"""What a call from Python gives back: the text, why it ended, and what says it again."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from refrain.chat.records import Message, Tool, ToolCall
from refrain.generation.sampling import TokenLogprobs
from refrain.generation.sequence import Sequence
from refrain.generation.token_bytes import TokenBytes
from refrain.generation.tool_calls import CallForm

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
    bytes: bytes | None  # joined they are the text; None for a control token
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
    content: str  # the text without calls of tools
    tool_calls: list[ToolCall]

    def __str__(self) -> str:
        return self.text

    @property
    def message(self) -> Message:
        """The assistant's turn, for the conversation to go on."""
        if not self.tool_calls:
            return {"role": "assistant", "content": self.text}
        return {"role": "assistant", "content": self.content, "tool_calls": self.tool_calls}


def count_tokens(sequence: Sequence) -> Usage:
    """The usage of a reply, so far."""
    return Usage(len(sequence.prompt_ids), len(sequence.ids), sequence.num_cached_tokens)


def read_calls(form: CallForm | None, tools: list[Tool] | None, text: str) -> tuple[str, list[ToolCall]]:
    """The words of a reply and the calls of tools in it."""
    names = {tool["function"]["name"] for tool in tools or []}
    found = form.parse(text, names) if form is not None and names else None
    if found is None:
        return text, []
    return found.content, [
        {"id": f"call_{nth}", "type": "function", "function": call} for nth, call in enumerate(found.calls)
    ]


def name_logprobs(tokens: TokenBytes, sequence: Sequence) -> list[TokenLogprob]:
    """The log-probabilities of a reply so far, with the texts of their tokens."""
    found = list(sequence.logprobs)
    return name_scores(tokens, sequence.ids[: len(found)], found)


def name_scores(tokens: TokenBytes, ids: list[int], found: list[TokenLogprobs]) -> list[TokenLogprob]:
    """Log-probabilities with the texts of their tokens."""
    return [
        TokenLogprob(tokens.name(token), own.chosen, token, tokens.find(token),
                     [TopLogprob(tokens.name(other), value, other) for other, value in own.top])
        for token, own in zip(ids, found, strict=True)
    ]  # fmt: skip
