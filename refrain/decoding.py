"""From ids to ids to text: the loops in which a language model speaks, whatever runs it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

Ids = NDArray[np.int64]
Logits = NDArray[np.float32]
Cache = Any  # whatever the model wants back with the next ids


class LanguageModel(Protocol):
    """Logits after each id of left-padded rows; `mask` covers past and ids, cache None is an empty past."""

    def forward(self, ids: Ids, mask: Ids, cache: Cache | None) -> tuple[Logits, Cache]: ...


def greedy(lm: LanguageModel, prompts: list[list[int]], limit: int, ends: frozenset[int]) -> list[list[int]]:
    """The likeliest ids after each prompt, decoded as one batch: up to `limit`, and before the first end."""
    if not prompts:
        return []
    ids, mask = padded(prompts)
    replies: list[list[int]] = [[] for _ in prompts]
    speaking = dict(enumerate(replies))
    cache = None
    for _ in range(limit):
        logits, cache = lm.forward(ids, mask, cache)
        ids = logits[:, -1:].argmax(axis=-1)
        mask = longer(mask)
        for row, reply in list(speaking.items()):
            token = int(ids[row, 0])
            if token in ends:
                del speaking[row]
            else:
                reply.append(token)
        if not speaking:
            break
    return replies


def stream(
    lm: LanguageModel, prompt: list[int], limit: int, ends: frozenset[int], choose: Callable[[Logits], int]
) -> Iterator[int]:
    """The chosen ids after a prompt, each as soon as it is known: up to `limit`, and before the first end."""
    ids, mask = padded([prompt])
    cache = None
    for _ in range(limit):
        logits, cache = lm.forward(ids, mask, cache)
        token = choose(logits[0, -1])
        if token in ends:
            return
        yield token
        ids, mask = np.array([[token]]), longer(mask)


def padded(prompts: list[list[int]]) -> tuple[Ids, Ids]:
    """Prompts as rows of equal width, filled up on the left, and the mask that hides the filling."""
    if not all(prompts):
        raise ValueError(f"prompt {prompts.index([]) + 1}: it has no ids; a model needs one to begin with")
    width = max(map(len, prompts))
    ids = [[0] * (width - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return np.array(ids, dtype=np.int64), np.array(mask, dtype=np.int64)


def longer(mask: Ids) -> Ids:
    """The mask with one more id to see in each row."""
    return np.pad(mask, ((0, 0), (0, 1)), constant_values=1)


def text(tokens: Iterable[int], tokenizer: Tokenizer, stops: Sequence[str] = ()) -> Iterator[str]:
    """Pieces of whole characters, without special tokens, that end before the first stop string."""
    decoder = DecodeStream(skip_special_tokens=True)
    pieces = (decoder.step(tokenizer, token) for token in tokens)
    return before((piece for piece in pieces if piece), stops)


def before(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """The pieces up to the stop string that is complete first; what may be the beginning of one waits."""
    held = ""
    for piece in pieces:
        held += piece
        found = [(held.index(stop) + len(stop), held.index(stop)) for stop in stops if stop in held]
        if found:
            held = held[: min(found)[1]]
            break
        ready = len(held) - begun(held, stops)
        if ready:
            yield held[:ready]
            held = held[ready:]
    if held:
        yield held


def begun(held: str, stops: Sequence[str]) -> int:
    """How many of the last characters are the beginning of a stop string."""
    lengths = range(1, min(len(held) + 1, max(map(len, stops), default=0)))
    return max((n for n in lengths if any(stop.startswith(held[-n:]) for stop in stops)), default=0)
