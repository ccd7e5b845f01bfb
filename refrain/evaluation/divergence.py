"""How far one model's logits are from another's, in units that hold for models of any size.

A difference of logits is given in standard deviations of the reference's logits at that position: what fp32 rounds away
grows with the logits and with depth. What a model of its own kind may differ by is its `rounding`: its distance from
itself in float64.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from refrain.evaluation import intervals
from refrain.evaluation.intervals import Interval
from refrain.pipeline import progress
from refrain.runtime.language_model import LanguageModel, Logits

log = logging.getLogger(__name__)

POSITIONS = 32  # of a prompt, the last ones, at which logits are compared
ROUNDING_PROMPTS = 3  # the shortest, one of middle length and the longest
ROUNDINGS = 10  # two right sums of one model are about two of its roundings apart
CHUNK_BYTES = 2**21  # of a float64 array that is computed at once: several stay in the cache of a core


class ExactModel(LanguageModel, Protocol):
    """A model that can compute in float64 for a while."""

    def in_float64(self) -> AbstractContextManager[LanguageModel]: ...


@dataclass
class Divergence:
    """How far a model is from its reference on whole prompts."""

    whole: float  # largest difference of a logit, in standard deviations of its position's logits
    mean: float  # mean difference of a logit, in the same unit
    kl: float  # mean Kullback-Leibler divergence from the reference's next token, in nats
    top1: float  # share of positions with the same likeliest token


def measure_divergence(reference: LanguageModel, candidate: LanguageModel, prompts: list[list[int]]) -> Divergence:
    """Both models on the last positions of the prompts, which hear all others."""
    if not prompts:
        raise ValueError("merged: no held-out prompt fits into what the model sees, so nothing shows that it is right")
    stats = DivergenceStats()
    for ids in progress.with_progress(prompts, "prompts", "comparison"):
        keep = min(POSITIONS, len(ids))
        stats.add("whole", sequence_logits(reference, ids, keep), sequence_logits(candidate, ids, keep))
    return stats.summary()


def measure_rounding(
    model: ExactModel, prompts: list[list[int]], known: Callable[[int], Logits] | None = None
) -> Divergence:
    """How far fp32 moves a model from itself in float64, on few of the prompts; 0 where it cannot compute so.

    `known` gives what it says at the last positions of the prompt of a number, where that need not be computed again.
    """
    by_length = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    numbers = [by_length[len(prompts) * i // ROUNDING_PROMPTS] for i in range(ROUNDING_PROMPTS - 1)] + by_length[-1:]
    chosen, bar = [prompts[number] for number in numbers], partial(progress.with_progress, unit="prompts")
    if known is None:
        rounded = [sequence_logits(model, ids, min(POSITIONS, len(ids))) for ids in bar(chosen, description="in fp32")]
    else:
        rounded = [known(number) for number in numbers]
    stats = DivergenceStats()
    try:
        with model.in_float64() as exact:
            for ids, logits in bar(list(zip(chosen, rounded, strict=True)), description="in float64"):
                stats.add("whole", sequence_logits(exact, ids, len(logits)), logits)
    except RuntimeError as error:  # an architecture that has fp32 in its code
        log.warning("it cannot compute in float64 (%s), so no bar gives way to what fp32 rounds", error)
        return Divergence(whole=0.0, mean=0.0, kl=0.0, top1=1.0)
    return stats.summary()


def require_equal(difference: Divergence, rounding: float, limit: float, faults: Sequence[str] = ()) -> None:
    """ValueError unless merged and adapter give the same logits, up to rounding, and no fault was found in weights."""
    slack = rounding_slack(limit, rounding)
    numbers = (
        f"its logits differ from the adapter's by {difference.whole:.2g} standard deviations, "
        f"merge.relative_logits allows {describe_limit(limit, slack)}"
    )
    if sentences := [*([] if difference.whole <= limit * slack else [numbers]), *faults]:
        raise ValueError(f"merged: {'; '.join(sentences)}")
    log.info("merged: %s", numbers)


def describe_limit(limit: float, slack: float) -> str:
    """A limit, and how far it gives way to what fp32 rounds in this model."""
    return f"{limit:g}" if slack == 1 else f"{limit:g}, and {limit * slack:.2g} for what fp32 rounds in this model"


def rounding_slack(limit: float, rounding: float) -> float:
    """The factor by which a limit gives way for a model that fp32 rounds coarsely; 1 for all others."""
    return max(1.0, ROUNDINGS * rounding / limit)


def sequence_logits(lm: LanguageModel, ids: list[int], keep: int = 0) -> Logits:
    """Logits [kept, vocabulary] of one sequence, without a cache."""
    row = np.array([ids], dtype=np.int64)
    logits, _ = lm.forward(row, np.ones_like(row), None, keep)
    return np.asarray(logits[0])


class DivergenceStats:
    """Differences as they come in, by execution mode: the logits of all sequences would not fit into memory.

    Two tokens of which the reference prefers one by no more than `tie` standard deviations count as the same.
    """

    def __init__(self, tie: float = 0.0) -> None:
        self.tie = tie
        self.largest: dict[str, float] = {}
        self.agreements: dict[str, list[bool]] = {}
        self.mean_differences: list[float] = []
        self.kl_divergences: list[float] = []

    def add(
        self, mode: str, reference: Logits, candidate: Logits, reply_length: int | None = None
    ) -> NDArray[np.bool_]:
        """One sequence in one execution mode, and where both choose the same token.

        Positions after the first `reply_length` are compared by logits alone.
        """
        agreement, differences = self.compare(mode, reference, candidate)
        self.hear(mode, agreement[:reply_length])
        if mode == "whole":
            self.mean_differences.append(float(differences.mean()))
            self.kl_divergences.extend(kl_divergence(reference[:reply_length], candidate[:reply_length]))
        return agreement

    def compare(self, mode: str, reference: Logits, candidate: Logits) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Positions of any sequences, by logits: where both choose the same token, and mean differences."""
        spread = standard_deviations(reference)
        largest, mean = scale_differences(reference, candidate, spread)
        self.largest[mode] = float(np.maximum(self.largest.get(mode, 0.0), largest.max()))  # Python's max loses nan
        return same_choice(reference, candidate, self.tie * spread), mean

    def hear(self, mode: str, agreement: NDArray[np.bool_]) -> None:
        """Count the positions of a sequence where a choice is heard."""
        self.agreements.setdefault(mode, []).extend(agreement)

    def summary(self) -> Divergence:
        """What is known of whole sequences."""
        return Divergence(self.largest["whole"], self.mean(), self.kl(), self.top1())

    def mean(self) -> float:
        """The mean difference of a logit."""
        return float(np.mean(self.mean_differences))

    def kl(self) -> float:
        """The mean divergence of the next token, in nats."""
        return float(np.mean(self.kl_divergences))

    def kl_interval(self) -> Interval | None:
        """What chance explains of it."""
        return intervals.student_interval(self.kl_divergences)

    def top1(self) -> float:
        """The share of positions with the same likeliest token, in the worst of the modes."""
        return min(float(np.mean(agreement)) for agreement in self.agreements.values())

    def top1_interval(self) -> Interval | None:
        """What chance explains of it: the lowest of the bounds of all modes, on either side."""
        counted = [intervals.share_interval(sum(agreement), len(agreement)) for agreement in self.agreements.values()]
        bounds = [interval for interval in counted if interval is not None]
        return (min(low for low, _ in bounds), min(high for _, high in bounds)) if bounds else None


def relative_differences(reference: Logits, candidate: Logits) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The largest and the mean difference at each position, in standard deviations of the reference's logits there."""
    return scale_differences(reference, candidate, standard_deviations(reference))


def scale_differences(
    reference: Logits, candidate: Logits, spread: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same, with the deviations known."""
    unit = np.where(spread == 0, 1.0, spread)  # all tokens equally likely: no spread to measure by
    largest, mean = np.empty_like(spread), np.empty_like(spread)
    for part in slices(reference):
        difference = reference[part] - candidate[part]
        np.abs(difference, out=difference)
        largest[part], mean[part] = difference.max(-1), difference.mean(-1, dtype=np.float64)
    return largest / unit, mean / unit


def standard_deviations(logits: Logits) -> NDArray[np.float64]:
    """At each position, in float64."""
    result = np.empty(len(logits))
    for part in slices(logits):
        wide = logits[part].astype(np.float64)
        wide -= wide.mean(-1, keepdims=True)
        result[part] = np.sqrt(np.einsum("ij,ij->i", wide, wide) / wide.shape[-1])
    return result


def same_choice(reference: Logits, candidate: Logits, least: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where both find the same token likeliest, or the reference prefers its own by no more than `least`."""
    positions = np.arange(len(reference))
    best, chosen = reference.argmax(-1), candidate.argmax(-1)
    preference = reference[positions, best] - reference[positions, chosen]
    return np.asarray((best == chosen) | (preference <= least))


def kl_divergence(reference: Logits, candidate: Logits) -> NDArray[np.float64]:
    """The Kullback-Leibler divergence of `candidate` from `reference` at each position, in nats.

    With logits p and q below their largest it is the mean of p - q, weighted by exp(p), less log sum exp(p), plus log
    sum exp(q).
    """
    result = np.empty(len(reference))
    for part in slices(reference):
        p, q = below_largest(reference[part]), below_largest(candidate[part])
        weights = np.exp(q)
        log_sum_q = np.log(weights.sum(-1))
        sum_p = np.exp(p, out=weights).sum(-1)
        p -= q
        result[part] = np.einsum("ij,ij->i", weights, p) / sum_p - np.log(sum_p) + log_sum_q
    return result


def below_largest(logits: Logits) -> NDArray[np.float64]:
    """Logits in float64, less the largest of their position."""
    wide = logits.astype(np.float64)
    wide -= wide.max(-1, keepdims=True)
    return wide


def slices(logits: Logits) -> list[slice]:
    """Positions, few at a time: float64 arrays of all of them would be twice as large as the logits."""
    size = max(1, CHUNK_BYTES // (8 * logits.shape[-1]))
    return [slice(start, start + size) for start in range(0, len(logits), size)]


def rounded_facts(measurement: Any) -> dict[str, Any]:
    """The numbers of a dataclass with two significant digits, since the last ones depend on the machine."""
    return {name: rounded_fact(value) for name, value in asdict(measurement).items()}


def rounded_fact(value: Any) -> Any:
    """Of a float, and of those in mappings and tuples: two significant digits below a tenth, four places above."""
    if isinstance(value, float):
        return float(f"{value:.1e}") if abs(value) < 0.1 else round(value, 4)
    if isinstance(value, dict):
        return {name: rounded_fact(each) for name, each in value.items()}
    return [rounded_fact(each) for each in value] if isinstance(value, tuple) else value
