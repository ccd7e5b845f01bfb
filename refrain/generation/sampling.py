"""From logits to the next token, on plain arrays."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class SamplingParams:
    """How words are chosen. Its defaults, which no other place repeats, change nothing: the likeliest token."""

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
    """Follows a reply: gives forbidden tokens -inf in a copy, and hears of every token that is chosen."""

    def mask(self, logits: Logits) -> Logits: ...
    def advance(self, token: int) -> None: ...


class Sampler:
    """Chooses the tokens of one reply, which it remembers; its chance is its own, so company changes nothing.

    The order is that of vLLM and Hugging Face: bias, penalties (repetition, frequency, presence), constraint; then,
    above temperature 0, temperature, top_k, top_p, min_p. (vLLM has min_p before top_k, Hugging Face last, as here.)
    """

    def __init__(self, manner: SamplingParams, prompt_ids: Sequence[int], constraint: Constraint | None = None) -> None:
        self._manner, self._constraint, repetition = manner, constraint, manner.repetition_penalty
        self._rng = np.random.Generator(np.random.PCG64(manner.seed))
        self._prompt = np.unique(np.array(prompt_ids if repetition != 1 else [], dtype=np.intp))
        self._counts: Counter[int] = Counter()
        penalties = repetition != 1 or manner.presence_penalty or manner.frequency_penalty
        self._weighs = bool(manner.logit_bias or penalties or constraint is not None)
        self.is_greedy = not (self._weighs or manner.temperature)  # the likeliest token, whatever came before

    def sample(self, logits: Logits) -> int:
        """The next id: at temperature 0 the likeliest, the lowest of equals; else one drawn with one random number."""
        scores = self._weighed(logits) if self._weighs else logits
        token = int(scores.argmax())  # of the first nan, if there is one
        if not math.isfinite(best := float(scores[token])):
            raise ValueError(f"logits: the highest is {best}, so there is nothing to choose; the model may be broken")
        if self._manner.temperature > 0:
            token = sample_token(scores, best, self._manner, self._rng.random())
        self._counts[token] += 1
        if self._constraint is not None:
            self._constraint.advance(token)
        return token

    def _weighed(self, logits: Logits) -> Logits:
        """A copy of the logits under bias, penalties and constraint."""
        scores, manner = logits.astype(np.float32), self._manner
        for number, value in manner.logit_bias.items():
            scores[number] += value
        said, counts = np.fromiter(self._counts, np.intp), np.fromiter(self._counts.values(), np.float32)
        seen = np.union1d(self._prompt, said)
        heard, penalty = scores[seen], manner.repetition_penalty
        scores[seen] = np.where(heard > 0, heard / penalty, heard * penalty)
        scores[said] -= manner.frequency_penalty * counts + manner.presence_penalty
        return scores if self._constraint is None else self._constraint.mask(scores)


def sample_token(scores: Logits, best: float, manner: SamplingParams, chance: float) -> int:
    """The id on which `chance`, from 0 to 1, falls when the shares of all lie side by side in the order of ids."""
    ids = top_indices(scores, manner.top_k or len(scores))  # no temperature changes who is likelier
    with np.errstate(over="ignore"):  # shifted before it is divided, so no nan can come of it
        weights = np.exp((scores[ids].astype(np.float64) - best) / manner.temperature)
    if manner.top_p < 1:
        kept = top_indices(weights, top_p_count(weights, manner.top_p))
        ids, weights = ids[kept], weights[kept]
    weights[weights < manner.min_p] = 0  # the likeliest weighs 1
    summed = np.cumsum(weights, out=weights)
    return int(ids[np.searchsorted(summed, chance * summed[-1], side="right")])  # never one that weighs 0


def top_indices(values: NDArray[np.floating], count: int) -> NDArray[np.intp]:
    """Where the `count` highest values stand, in rising order; of equal ones the first."""
    if count >= len(values):
        return np.arange(len(values))
    level = np.partition(values, -count)[-count]
    above, equal = np.flatnonzero(values > level), np.flatnonzero(values == level)
    return np.sort(np.concatenate([above, equal[: count - len(above)]]))


def top_p_count(weights: NDArray[np.float64], share: float) -> int:
    """How many of the highest weights hold that share of all."""
    goal, count, rest = share * weights.sum(), 0, weights
    while len(rest) > 256:  # to halve them is cheaper than to sort them all
        high = rest > rest.mean()
        if high.all() or not high.any():  # they are equal, and the mean is rounded
            break
        if (mass := rest[high].sum()) >= goal:
            rest = rest[high]
        else:
            goal, count, rest = goal - mass, count + int(high.sum()), rest[~high]
    summed = np.cumsum(np.sort(rest)[::-1])
    return count + int(np.searchsorted(summed[:-1], goal)) + 1


def log_probabilities(logits: Logits) -> Logits:
    """The logarithm of each token's chance."""
    shifted = logits.astype(np.float64) - logits.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()), dtype=np.float32)


def top_logprobs(logits: Logits, count: int) -> list[tuple[int, float]]:
    """The likeliest ids, falling, each with the logarithm of its chance; impossible ones are left out."""
    ids, chances = top_indices(logits, count), log_probabilities(logits)
    falling = ids[np.argsort(-logits[ids], kind="stable")][:count]
    return [(int(number), float(chances[number])) for number in falling if logits[number] > -np.inf]


def validate(manner: SamplingParams, vocabulary: int | None) -> None:
    """ValueError for values without a meaning; `vocabulary` is the number of ids, None where it is not known."""
    for name, meant, way_out in (
        ("temperature", 0 <= manner.temperature < np.inf, "0, the likeliest token, or more"),
        ("top_k", manner.top_k >= 0, "how many tokens to choose from, 0 for all"),
        ("top_p", 0 < manner.top_p <= 1, "more than 0, and at most 1.0 for all tokens"),
        ("min_p", 0 <= manner.min_p <= 1, "0 for all tokens, and at most 1.0 for the likeliest"),
        ("repetition_penalty", 0 < manner.repetition_penalty < np.inf, "1.0 for none, more to repeat less"),
        ("presence_penalty", abs(manner.presence_penalty) <= 2, "-2 to 2, 0 for none"),
        ("frequency_penalty", abs(manner.frequency_penalty) <= 2, "-2 to 2, 0 for none"),
        ("seed", manner.seed >= 0, "a whole number from 0"),
    ):
        if not meant:
            raise ValueError(f"{name}: {getattr(manner, name)} is out of range; give {way_out}")
    last = math.inf if vocabulary is None else vocabulary - 1
    for number, value in manner.logit_bias.items():
        if not 0 <= number <= last:
            raise ValueError(f"logit_bias: there is no token {number}; the model's ids go from 0 to {last}")
        if not -100 <= value <= 100:
            raise ValueError(f"logit_bias: {value} for {number} is out of range; give -100, never, to 100, always")
