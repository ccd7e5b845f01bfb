"""One model against what another said, in every execution mode, with the logits of few positions in memory."""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from refrain.evaluation import divergence
from refrain.evaluation.divergence import DivergenceStats, ExactModel
from refrain.runtime import language_model
from refrain.runtime.language_model import Cache, Ids, LanguageModel, Logits

LOGIT_BYTES = 2**26  # of the logits of one model that are compared at once

States = NDArray[np.float32]  # what a head reads, [positions, width]


class Reference(ExactModel, Protocol):
    """A model whose logits are made again of what its head reads, which is small enough to be kept."""

    def read_states(self, ids: list[int], keep: int) -> States: ...

    def head_logits(self, states: States) -> Logits: ...


@dataclass(frozen=True)
class Reply:
    """A prompt, and what the reference says after it."""

    prompt: list[int]
    tokens: list[int]
    prompt_states: States  # of the reference, at the last positions of the prompt
    states: States  # ... and before each of the tokens
    heard: int  # how many of the tokens count; the others are compared by logits alone


def read_reply(reference: Reference, prompt: list[int], tokens: list[int], heard: int) -> Reply:
    """What the reference says, as it hears it itself."""
    positions, steps = min(divergence.POSITIONS, len(prompt)), len(tokens)
    states = reference.read_states([*prompt, *tokens[:-1]], positions + steps - 1)  # the prompt's last is of both
    return Reply(prompt, tokens, states[:positions], states[-steps:], heard)


def says_itself(reference: Reference, reply: Reply) -> bool:
    """Whether each token of a reply is the one that the reference finds likeliest there."""
    return bool(np.array_equal(reference.head_logits(reply.states).argmax(-1), reply.tokens))


def compare_at_once(
    reference: Reference, candidate: LanguageModel, reply: Reply, is_alone: bool, stats: DivergenceStats
) -> None:
    """Count the differences on a sequence that is fed whole, and on one with its prompt in two pieces, or as whole."""
    logits = reference.head_logits(reply.states)
    agreement = stats.add("whole", logits, reply_logits(candidate, reply), reply.heard)
    if is_alone:
        stats.add("chunked", logits, reply_logits(candidate, reply, cut=len(reply.prompt) // 2), reply.heard)
    else:
        stats.hear("chunked", agreement[: reply.heard])


def compare_by_token(
    reference: Reference, candidate: LanguageModel, replies: list[Reply], alone: list[int], stats: DivergenceStats
) -> list[tuple[int, int]]:
    """Count the differences on replies that are fed token by token, in one batch, and those of these places alone too.

    Gives how many tokens of each lead, alone and in the batch; others count alone as in the batch, so that both are of
    the same tokens. What is expected is made once for both.
    """
    first, start = 0, read_prompts(candidate, replies)
    lone = {at: feed_tokens(candidate, [replies[at]], fork(candidate, replies[at], start, at)) for at in alone}
    agreements: dict[tuple[str, int], list[NDArray[np.bool_]]] = defaultdict(list)
    for block in in_blocks(feed_tokens(candidate, replies, start)):
        states = [reply.states[first : first + block.shape[1]] for reply in replies]
        ends = np.cumsum([len(read) for read in states])
        expected = np.split(reference.head_logits(np.concatenate(states)), ends[:-1])
        for at, logits in enumerate(expected):
            if len(logits):
                agreements["batched", at].append(stats.compare("batched", logits, block[at, : len(logits)])[0])
            if len(logits) and at in lone:
                own = np.concatenate(list(itertools.islice(lone[at], len(logits))))
                agreements["cached", at].append(stats.compare("cached", logits, own)[0])
        first += block.shape[1]
    leads = []
    for at, reply in enumerate(replies):
        batched = np.concatenate(agreements["batched", at])
        cached = np.concatenate(agreements["cached", at]) if at in lone else batched
        stats.hear("batched", batched[: reply.heard])
        stats.hear("cached", cached[: reply.heard])
        leads.append((leading(cached), leading(batched)))
    return leads


def in_blocks(logits: Iterator[Logits]) -> Iterator[Logits]:
    """Steps [rows, vocabulary], as many of them together as may be in memory: [rows, steps, vocabulary]."""
    for step in logits:
        others = itertools.islice(logits, max(1, LOGIT_BYTES // step.nbytes) - 1)
        yield np.stack([step, *others], axis=1)


def leading(agreement: NDArray[np.bool_]) -> int:
    """How many positions agree before the first that does not."""
    return len(agreement) if agreement.all() else int(agreement.argmin())


def reply_logits(lm: LanguageModel, reply: Reply, cut: int = 0) -> Logits:
    """Logits [steps, vocabulary], each before a token of the reply; the first `cut` ids are put into a cache before."""
    ids = [*reply.prompt, *reply.tokens[:-1]]
    if cut == 0:
        return divergence.sequence_logits(lm, ids, len(reply.tokens))
    row = np.array([ids], dtype=np.int64)
    mask = np.ones_like(row)
    _, cache = lm.forward(row[:, :cut], mask[:, :cut], None, 1)
    logits, _ = lm.forward(row[:, cut:], mask, cache, len(reply.tokens))
    return np.asarray(logits[0])


@dataclass(frozen=True)
class Start:
    """What a model says after the prompts of a batch, [rows, vocabulary], and where it goes on."""

    logits: Logits
    mask: Ids
    cache: Cache


def read_prompts(lm: LanguageModel, replies: list[Reply]) -> Start:
    """The prompts of replies in one batch."""
    ids, mask = language_model.left_pad([reply.prompt for reply in replies])
    logits, cache = lm.forward(ids, mask, None, 1)
    return Start(logits[:, -1], mask, cache)


def fork(lm: LanguageModel, reply: Reply, start: Start, row: int) -> Start:
    """The prompt of a row alone: not read again where a batch has left what it leaves alone."""
    cache = lm.fork_row(start.cache, row)
    if cache is None:
        return read_prompts(lm, [reply])
    return Start(start.logits[row : row + 1], start.mask[row : row + 1, -len(reply.prompt) :], cache)


def feed_tokens(lm: LanguageModel, replies: list[Reply], start: Start) -> Iterator[Logits]:
    """Logits [rows, vocabulary] before each token of replies that are fed token by token, up to the longest's last.

    A reply that has ended is fed what nobody reads.
    """
    yield start.logits
    mask, cache = start.mask, start.cache
    for tokens in itertools.zip_longest(*(reply.tokens[:-1] for reply in replies), fillvalue=0):
        mask = language_model.extend_mask(mask)
        logits, cache = lm.forward(np.array(tokens, dtype=np.int64)[:, None], mask, cache, 1)
        yield logits[:, -1]
