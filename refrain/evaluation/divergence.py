"""How far one model's logits are from another's, sequence by sequence."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refrain.runtime.language_model import LanguageModel, Logits


@dataclass
class Divergence:
    """How far a model is from its reference on whole prompts."""

    whole: float  # largest difference of a logit
    mean: float  # mean difference of a logit
    kl: float  # mean Kullback-Leibler divergence from the reference's next token, in nats
    top1: float  # share of positions with the same likeliest token


def measure_divergence(reference: LanguageModel, candidate: LanguageModel, prompts: list[list[int]]) -> Divergence:
    """Both models on whole prompts, without a cache."""
    count = DivergenceStats()
    for ids in prompts:
        count.add("whole", sequence_logits(reference, ids), sequence_logits(candidate, ids))
    return Divergence(count.most["whole"], count.mean(), count.kl(), count.top1())


def require_equal(found: Divergence, tolerance: float) -> None:
    """ValueError unless merged and adapter give the same logits, up to `tolerance`."""
    if not found.whole <= tolerance:
        raise ValueError(
            f"merged: its logits differ from the adapter's by {found.whole:.2g}, merge.tolerance allows {tolerance:g}; "
            "an adapter on a tied head or on quantised weights cannot be folded in"
        )


def sequence_logits(lm: LanguageModel, ids: list[int], keep: int = 0) -> Logits:
    """Logits [kept, vocabulary] of one sequence, without a cache."""
    row = np.array([ids], dtype=np.int64)
    logits, _ = lm.forward(row, np.ones_like(row), None, keep)
    return np.asarray(logits[0])


class DivergenceStats:
    """Differences as they come in, way by way: the logits of all sequences would not fit into memory."""

    def __init__(self) -> None:
        self.most: dict[str, float] = {}
        self.agreed: dict[str, list[bool]] = {}
        self.means: list[float] = []
        self.divergences: list[float] = []

    def add(self, way: str, right: Logits, got: Logits, meant: int | None = None) -> None:
        """One sequence, asked in one way; what comes after the first `meant` positions is compared by logits alone."""
        off = np.abs(right - got)
        self.most[way] = float(np.maximum(self.most.get(way, 0.0), off.max()))  # nan stays nan: Python's max loses it
        self.agreed.setdefault(way, []).extend((right.argmax(-1) == got.argmax(-1))[:meant])
        if way == "whole":
            self.means.append(float(off.mean()))
            self.divergences.extend(kl_divergence(right[:meant], got[:meant]))

    def mean(self) -> float:
        """The mean difference of a logit."""
        return float(np.mean(self.means))

    def kl(self) -> float:
        """The mean divergence of the next token, in nats."""
        return float(np.mean(self.divergences))

    def top1(self) -> float:
        """The share of positions with the same likeliest token, in the worst of the ways."""
        return min(float(np.mean(same)) for same in self.agreed.values())


def kl_divergence(right: Logits, got: Logits) -> NDArray[np.float64]:
    """The Kullback-Leibler divergence of `got` from `right` at each position, in nats."""
    p, q = log_softmax(right), log_softmax(got)
    return np.asarray((np.exp(p) * (p - q)).sum(-1))


def log_softmax(logits: Logits) -> NDArray[np.float64]:
    """Log-probabilities over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def rounded_facts(found: Any) -> dict[str, float]:
    """The numbers of a dataclass with two significant digits, since the last ones depend on the machine."""
    return {
        name: float(f"{value:.1e}") if abs(value) < 0.1 else round(value, 4) for name, value in asdict(found).items()
    }
