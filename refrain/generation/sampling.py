"""From logits to the next token, on plain arrays."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from refrain.runtime.language_model import Logits, log_softmax

BLOCK = 256  # weights that are summed at once
TINY, LARGEST = map(float, (np.finfo(np.float32).tiny, np.finfo(np.float32).max))


@dataclass(frozen=True)
class SamplingParams:
    """How tokens are chosen. Its defaults, which no other place repeats, change nothing: the likeliest token."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0  # divides what is above 0, multiplies what is below: tokens of prompt and reply
    presence_penalty: float = 0.0  # taken once from tokens of the reply
    frequency_penalty: float = 0.0  # taken from tokens of the reply as often as they came
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int = 0


class Constraint(Protocol):
    """Follows a reply: gives forbidden tokens -inf in a copy, drafts what must follow, hears of what is chosen."""

    def mask(self, logits: Logits) -> Logits: ...
    def draft_tokens(self) -> list[int]: ...
    def advance(self, token: int) -> None: ...


class Sampler:
    """Chooses the tokens of one sequence, which it remembers; its random numbers are its own, in a batch or not.

    The order is that of vLLM and Hugging Face: bias, penalties (repetition, frequency, presence), constraint; then,
    above temperature 0, temperature, top_k, top_p, min_p. (vLLM has min_p before top_k, Hugging Face last, as here.)
    """

    def __init__(self, params: SamplingParams, prompt_ids: Sequence[int], constraint: Constraint | None = None) -> None:
        self._params, self._constraint, repetition = params, constraint, params.repetition_penalty
        self._prompt_ids = np.array(sorted({*prompt_ids}) if repetition != 1 else [], dtype=np.intp)
        self._counts: Counter[int] = Counter()
        penalties = repetition != 1 or params.presence_penalty or params.frequency_penalty
        self._changes_logits = bool(params.logit_bias or penalties or constraint is not None)

    @cached_property
    def _rng(self) -> "np.random.Generator":
        """Made when a token is drawn: NumPy takes a while to load what draws."""
        return np.random.Generator(np.random.PCG64(self._params.seed))

    def sample(self, logits: Logits) -> int:
        """The next id: at temperature 0 the likeliest, the lowest of equals; else one drawn with one random number."""
        scores = self._adjust_logits(logits) if self._changes_logits else logits
        token = int(scores.argmax())  # of the first nan, if there is one
        if not math.isfinite(best := float(scores[token])):
            raise ValueError(f"logits: the highest is {best}, so there is nothing to choose; the model may be broken")
        if self._params.temperature > 0:
            token = sample_token(scores, best, self._params, self._rng.random())
        self._counts[token] += 1
        if self._constraint is not None:
            self._constraint.advance(token)
        return token

    def draft_tokens(self) -> list[int]:
        """What the constraint leaves no choice about, as far as it can tell."""
        return [] if self._constraint is None else self._constraint.draft_tokens()

    def _adjust_logits(self, logits: Logits) -> Logits:
        """A copy of the logits under bias, penalties and constraint."""
        scores, params = logits.astype(np.float32), self._params
        for token, value in params.logit_bias.items():
            scores[token] += value
        generated, counts = np.fromiter(self._counts, np.intp), np.fromiter(self._counts.values(), np.float32)
        context = np.union1d(self._prompt_ids, generated)
        context_scores, penalty = scores[context], params.repetition_penalty
        scores[context] = np.where(context_scores > 0, context_scores / penalty, context_scores * penalty)
        scores[generated] -= params.frequency_penalty * counts + params.presence_penalty
        return scores if self._constraint is None else self._constraint.mask(scores)


@np.errstate(over="ignore")  # shifted before it is divided, so no nan can come of it
def sample_token(scores: Logits, best: float, params: SamplingParams, fraction: float) -> int:
    """The id on which `fraction`, from 0 to 1, falls when the probabilities lie side by side in the order of ids."""
    ids = None if not params.top_k else top_indices(scores, params.top_k)  # no temperature changes who is likelier
    temperature = min(max(params.temperature, TINY), LARGEST)
    shifted = (scores if ids is None else scores[ids]) - np.float32(best)
    if params.min_p and params.top_p == 1:  # what weighs less is not weighed, but for a margin of rounding
        likely = np.flatnonzero(shifted >= temperature * (math.log(params.min_p) - 1e-3))
        ids, shifted = likely if ids is None else ids[likely], shifted[likely]
    weights = np.exp(shifted if temperature == 1 else np.divide(shifted, temperature, out=shifted), out=shifted)
    if params.top_p < 1:
        nucleus = top_p_indices(weights, params.top_p)
        ids, weights = nucleus if ids is None else ids[nucleus], weights[nucleus]
    if params.min_p:
        weights[weights < params.min_p] = 0  # the likeliest weighs 1
    index = search_cumulative(weights, fraction)
    return index if ids is None else int(ids[index])


def search_cumulative(weights: NDArray[np.float32], fraction: float) -> int:
    """Where that share of the sum of all weights is exceeded, never at one that weighs 0."""
    if len(weights) <= BLOCK:
        sums = running_sums(weights)
        return first_above(sums, fraction * float(sums[-1]))
    ends = running_sums(block_sums(weights))
    goal = fraction * float(ends[-1])
    block = first_above(ends, goal)
    start, before = BLOCK * block, float(ends[block - 1]) if block else 0.0
    return start + first_above(running_sums(weights[start : start + BLOCK]), goal - before)


def running_sums(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """The sum up to each value, in float64; values that are copied first are added in half the time."""
    return np.add.accumulate(values.astype(np.float64))


def first_above(sums: NDArray[np.float64], goal: float) -> int:
    """Where rising sums exceed a goal, at the latest where they reach their last: goals are rounded."""
    return int(sums.searchsorted(min(goal, math.nextafter(sums[-1], 0.0)), side="right"))


def block_sums(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sum of each BLOCK weights and of those left over; einsum adds in one thread, wherever the weights lie."""
    left = len(weights) % BLOCK
    sums = np.einsum("ij->i", weights[: len(weights) - left].reshape(-1, BLOCK))
    return np.append(sums, weights[-left:].sum()) if left else sums


def top_indices(values: NDArray[np.floating], count: int) -> NDArray[np.intp]:
    """Where the `count` highest values stand, in rising order; of equal ones the first."""
    if count >= len(values):
        return np.arange(len(values))
    candidates: NDArray[np.intp] | None = None
    if (rows := min(64, len(values) // (4 * count))) > 1:
        # as many columns as asked for have their highest at this bound or above, and little else has
        highest = values[: len(values) // rows * rows].reshape(rows, -1).max(axis=0)
        candidates = (values >= np.partition(highest, -count)[-count]).nonzero()[0]
        values = values[candidates]
    threshold = np.partition(values, -count)[-count]
    found: NDArray[np.intp] = (values >= threshold).nonzero()[0]
    if len(found) > count:
        equal = (values[found] == threshold).nonzero()[0]
        found = np.delete(found, equal[count - len(found) :])
    return found if candidates is None else candidates[found]


def top_p_indices(weights: NDArray[np.float32], share: float) -> NDArray[np.intp]:
    """Where the highest weights stand that hold that share of all, in rising order; of equal ones the first."""
    goal = share * float(block_sums(weights).sum(dtype=np.float64))
    for threshold in (2**-12, 2**-16, 0.0):  # of the likeliest, which weighs 1: most are far below
        candidates = (weights >= threshold).nonzero()[0]
        kept = weights[candidates].astype(np.float64)
        if kept.sum() >= goal:
            break
    return candidates[top_indices(kept, top_p_count(kept, goal))]


def top_p_count(weights: NDArray[np.float64], goal: float) -> int:
    """How many of the highest weights have that sum."""
    count, remaining = 0, weights
    while len(remaining) > 512:  # to halve them is cheaper than to sort them all
        high = remaining > remaining.mean()
        if high.all() or not high.any():  # they are equal, and the mean is rounded
            break
        if (mass := remaining[high].sum()) >= goal:
            remaining = remaining[high]
        else:
            goal, count, remaining = goal - mass, count + int(high.sum()), remaining[~high]
    cumulative = np.sort(remaining)[::-1].cumsum()
    return count + int(cumulative[:-1].searchsorted(goal)) + 1


def log_probabilities(logits: Logits) -> Logits:
    """The log-probability of each token, in fp32."""
    return log_softmax(logits).astype(np.float32)


class TokenLogprobs(NamedTuple):
    """The log-probability of the token that was chosen, and the likeliest ones, falling: of the model, unchanged."""

    chosen: float
    top: list[tuple[int, float]]


def token_logprobs(logits: Logits, token: int, count: int) -> TokenLogprobs:
    """Those of a token that was chosen; of the likeliest, impossible ones are left out."""
    best = float(logits.max())
    shifted = logits - np.float32(best)
    total = best + math.log(block_sums(np.exp(shifted, out=shifted)).sum(dtype=np.float64))
    ids = top_indices(logits, count) if count else np.empty(0, np.intp)
    falling = ids[np.argsort(-logits[ids], kind="stable")][:count]
    top = [(int(other), float(logits[other]) - total) for other in falling if logits[other] > -np.inf]
    return TokenLogprobs(float(logits[token]) - total, top)


def validate(params: SamplingParams, vocab_size: int | None) -> None:
    """ValueError for values without a meaning; `vocab_size` is the number of ids, None where it is not known."""
    for name, is_valid, way_out in (
        ("temperature", 0 <= params.temperature < np.inf, "0, the likeliest token, or more"),
        ("top_k", params.top_k >= 0, "how many tokens to choose from, 0 for all"),
        ("top_p", 0 < params.top_p <= 1, "more than 0, and at most 1.0 for all tokens"),
        ("min_p", 0 <= params.min_p <= 1, "0 for all tokens, and at most 1.0 for the likeliest"),
        (
            "repetition_penalty",
            0.01 <= params.repetition_penalty <= 100,
            "0.01 to 100, 1.0 for none, more to repeat less",
        ),
        ("presence_penalty", abs(params.presence_penalty) <= 2, "-2 to 2, 0 for none"),
        ("frequency_penalty", abs(params.frequency_penalty) <= 2, "-2 to 2, 0 for none"),
        ("seed", params.seed >= 0, "a whole number from 0"),
    ):
        if not is_valid:
            raise ValueError(f"{name}: {getattr(params, name)} is out of range; give {way_out}")
    last = math.inf if vocab_size is None else vocab_size - 1
    for token, value in params.logit_bias.items():
        if not 0 <= token <= last:
            raise ValueError(f"logit_bias: there is no token {token}; the model's ids go from 0 to {last}")
        if not -100 <= value <= 100:
            raise ValueError(f"logit_bias: {value} for {token} is out of range; give -100, never, to 100, always")
