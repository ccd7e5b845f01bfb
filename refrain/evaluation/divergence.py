"""How far one model's logits are from another's, sequence by sequence."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refrain.runtime.language_model import LanguageModel, Logits, log_softmax


@dataclass
class Divergence:
    """How far a model is from its reference on whole prompts."""

    whole: float  # largest difference of a logit
    mean: float  # mean difference of a logit
    kl: float  # mean Kullback-Leibler divergence from the reference's next token, in nats
    top1: float  # share of positions with the same likeliest token


def measure_divergence(reference: LanguageModel, candidate: LanguageModel, prompts: list[list[int]]) -> Divergence:
    """Both models on whole prompts, without a cache."""
    stats = DivergenceStats()
    for ids in prompts:
        stats.add("whole", sequence_logits(reference, ids), sequence_logits(candidate, ids))
    return Divergence(stats.largest["whole"], stats.mean(), stats.kl(), stats.top1())


def require_equal(difference: Divergence, tolerance: float) -> None:
    """ValueError unless merged and adapter give the same logits, up to `tolerance`."""
    if not difference.whole <= tolerance:
        raise ValueError(
            f"merged: its logits differ from the adapter's by {difference.whole:.2g}, "
            f"merge.tolerance allows {tolerance:g}; "
            "an adapter on a tied head or on quantised weights cannot be folded in"
        )


def sequence_logits(lm: LanguageModel, ids: list[int], keep: int = 0) -> Logits:
    """Logits [kept, vocabulary] of one sequence, without a cache."""
    row = np.array([ids], dtype=np.int64)
    logits, _ = lm.forward(row, np.ones_like(row), None, keep)
    return np.asarray(logits[0])


class DivergenceStats:
    """Differences as they come in, by execution mode: the logits of all sequences would not fit into memory."""

    def __init__(self) -> None:
        self.largest: dict[str, float] = {}
        self.agreements: dict[str, list[bool]] = {}
        self.mean_differences: list[float] = []
        self.kl_divergences: list[float] = []

    def add(self, mode: str, reference: Logits, candidate: Logits, reply_length: int | None = None) -> None:
        """One sequence in one execution mode; positions after the first `reply_length` are compared by logits alone."""
        difference = np.abs(reference - candidate)
        largest = np.maximum(self.largest.get(mode, 0.0), difference.max())  # nan stays nan: Python's max loses it
        self.largest[mode] = float(largest)
        self.agreements.setdefault(mode, []).extend((reference.argmax(-1) == candidate.argmax(-1))[:reply_length])
        if mode == "whole":
            self.mean_differences.append(float(difference.mean()))
            self.kl_divergences.extend(kl_divergence(reference[:reply_length], candidate[:reply_length]))

    def mean(self) -> float:
        """The mean difference of a logit."""
        return float(np.mean(self.mean_differences))

    def kl(self) -> float:
        """The mean divergence of the next token, in nats."""
        return float(np.mean(self.kl_divergences))

    def top1(self) -> float:
        """The share of positions with the same likeliest token, in the worst of the modes."""
        return min(float(np.mean(agreement)) for agreement in self.agreements.values())


def kl_divergence(reference: Logits, candidate: Logits) -> NDArray[np.float64]:
    """The Kullback-Leibler divergence of `candidate` from `reference` at each position, in nats."""
    p, q = log_softmax(reference), log_softmax(candidate)
    return np.asarray((np.exp(p) * (p - q)).sum(-1))


def rounded_facts(measurement: Any) -> dict[str, float]:
    """The numbers of a dataclass with two significant digits, since the last ones depend on the machine."""
    values = asdict(measurement).items()
    return {name: float(f"{value:.1e}") if abs(value) < 0.1 else round(value, 4) for name, value in values}
