"""The ids of prompts: of texts as they are, and as many turns of a conversation as fit into the context."""

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from refrain.chat.encoding import ChatTokenizer
from refrain.chat.records import Message
from refrain.serving.errors import ApiError, invalid_value

LONG_TEXT = 20_000  # characters, whose encoding would hold the event loop up
Result = TypeVar("Result")


class ChatPrompt(NamedTuple):
    """A conversation as the model reads it."""

    ids: list[int]
    num_left_out: int  # turns that did not fit, where that was allowed


def truncate_oldest(
    count: Callable[[list[Message]], int], messages: list[Message], max_length: int
) -> tuple[list[Message], int]:
    """The newest turns that fit, from a user's on, behind the system's, and how many were left out.

    The last exchange where not even that fits.
    """
    first = int(messages[0]["role"] == "system")
    starts = [nth for nth, message in enumerate(messages) if nth > first and message["role"] == "user"]

    def turns_from(start: int) -> list[Message]:
        return [*messages[:first], *messages[start:]]

    if not starts or count(messages) <= max_length:
        return messages, 0
    at = bisect_left(starts, True, key=lambda start: count(turns_from(start)) <= max_length)
    start = starts[min(at, len(starts) - 1)]
    return turns_from(start), start - first


def require_room(num_tokens: int, context: int, param: str) -> None:
    """ApiError 400 where a prompt is empty, or leaves no room for a reply."""
    if num_tokens == 0:
        raise invalid_value(param, f"{param}: there is no token in it; write something")
    if num_tokens >= context:
        way_out = 'shorten them, or set truncate to "oldest"' if param == "messages" else "shorten it"
        raise ApiError(
            400, "context_length_exceeded",
            f"{param}: {num_tokens} tokens, but the model sees {context} with its reply; {way_out}", param,
        )  # fmt: skip


def encode_text(tokenizer: ChatTokenizer, text: str, add_special_tokens: bool) -> list[int]:
    """The ids of a text as it is, whose control tokens are control tokens."""
    return list(tokenizer.tokenizer.encode(text, add_special_tokens=add_special_tokens).ids)


def check_ids(tokenizer: ChatTokenizer, ids: Sequence[int], param: str) -> list[int]:
    """Ids that a request gives; ApiError 400 for one that is no token."""
    size = tokenizer.tokenizer.get_vocab_size()
    if (wrong := next((token for token in ids if not 0 <= token < size), None)) is not None:
        raise invalid_value(param, f"{param}: there is no token {wrong}; the model's ids go from 0 to {size - 1}")
    return list(ids)


def estimate_size(messages: Sequence[Any]) -> int:
    """About how much work a conversation is, in characters: each of its turns is some."""
    return sum(100 + (len(message.get("content") or "") if isinstance(message.get("content"), str) else 0)
               for message in messages)  # fmt: skip


async def run_aside(size: int, function: Callable[..., Result], *arguments: Any) -> Result:
    """The result of a function, in a thread where its text is so long that others would wait."""
    return await asyncio.to_thread(function, *arguments) if size > LONG_TEXT else function(*arguments)
