"""How far one model's logits are from another's, in units that hold for models of any size.

A difference of logits is given in standard deviations of the reference's logits at that position: what fp32 rounds away
grows with the logits and with depth. What a model of its own kind may differ by is its `rounding`: its distance from
itself in float64.
"""

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from refrain.evaluation import intervals
from refrain.evaluation.intervals import Interval
from refrain.pipeline import progress
from refrain.runtime.language_model import LanguageModel, Logits, log_softmax

log = logging.getLogger(__name__)

POSITIONS = 32  # of a prompt, the last ones, at which logits are compared
ROUNDING_PROMPTS = 3  # the shortest, one of middle length and the longest
ROUNDINGS = 10  # two right sums of one model are about two of its roundings apart
CHUNK_BYTES = 2**23  # of the float64 arrays that are computed at once


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


def measure_rounding(model: ExactModel, prompts: list[list[int]]) -> Divergence:
    """How far fp32 moves a model from itself in float64, on few of the prompts; 0 where it cannot compute so."""
    by_length = sorted(prompts, key=len)
    chosen = [by_length[len(prompts) * i // ROUNDING_PROMPTS] for i in range(ROUNDING_PROMPTS - 1)] + by_length[-1:]
    bar = partial(progress.with_progress, unit="prompts")
    rounded = [sequence_logits(model, ids, min(POSITIONS, len(ids))) for ids in bar(chosen, description="in fp32")]
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
        reply_length = len(reference) if reply_length is None else reply_length
        parts = slices(reference)
        means = [self._add_differences(mode, reference[part], candidate[part]) for part in parts]
        agreement = np.concatenate([same_choice(reference[part], candidate[part], self.tie) for part in parts])
        self.agreements.setdefault(mode, []).extend(agreement[:reply_length])
        if mode == "whole":
            self.mean_differences.append(float(np.concatenate(means).mean()))
            self.kl_divergences.extend(kl_divergence(reference[:reply_length], candidate[:reply_length]))
        return agreement

    def _add_differences(self, mode: str, reference: Logits, candidate: Logits) -> NDArray[np.float64]:
        largest, mean = relative_differences(reference, candidate)
        self.largest[mode] = float(np.maximum(self.largest.get(mode, 0.0), largest.max()))  # Python's max loses nan
        return mean

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
    differences = np.abs(reference - candidate)
    spread = reference.std(-1, dtype=np.float64)
    spread[spread == 0] = 1.0  # all tokens equally likely: no spread to measure by
    return differences.max(-1) / spread, differences.mean(-1, dtype=np.float64) / spread


def same_choice(reference: Logits, candidate: Logits, tie: float) -> NDArray[np.bool_]:
    """Where both find the same token likeliest, or the reference prefers its own by `tie` deviations at most."""
    positions = np.arange(len(reference))
    best, chosen = reference.argmax(-1), candidate.argmax(-1)
    preference = reference[positions, best] - reference[positions, chosen]
    return np.asarray((best == chosen) | (preference <= tie * reference.std(-1, dtype=np.float64)))


def kl_divergence(reference: Logits, candidate: Logits) -> NDArray[np.float64]:
    """The Kullback-Leibler divergence of `candidate` from `reference` at each position, in nats."""
    result = np.empty(len(reference))
    for part in slices(reference):
        p, q = log_softmax(reference[part]), log_softmax(candidate[part])
        result[part] = (np.exp(p) * (p - q)).sum(-1)
    return result


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
