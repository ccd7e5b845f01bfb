"""Each score as a function of sums over rows: so that rows can be drawn anew, left out, or swapped between models."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from refrain.evaluation import corpus_bleu, metrics
from refrain.evaluation.corpus_bleu import Numbers

TEXT_METRICS = ("exact_match", "token_f1", "bleu", *metrics.ROUGES)


@dataclass(frozen=True)
class RowStatistics:
    """Numbers of each row (rows, columns), and the score of their sums over rows: (..., columns) to (...)."""

    rows: Numbers
    score: Callable[[Numbers], Numbers]
    highest: float = 1.0  # of a score that starts at 0

    @property
    def value(self) -> float:
        """The score of all rows."""
        return float(self.score(self.rows.sum(axis=0)))


def text_statistics(metric: str, predictions: Sequence[str], references: Sequence[str]) -> RowStatistics:
    """Of one of TEXT_METRICS."""
    if metric == "bleu":
        return RowStatistics(corpus_bleu.count_ngrams(predictions, references), corpus_bleu.score_counts, 100.0)
    return mean_statistics(metrics.score_rows(metric, predictions, references))


def mean_statistics(values: Sequence[float]) -> RowStatistics:
    """Of a mean of values from 0 to 1."""
    return RowStatistics(np.array([(value, 1.0) for value in values]).reshape(-1, 2), score_mean)


def perplexity_statistics(losses: Sequence[tuple[float, int]]) -> RowStatistics:
    """Of the negative log-likelihood of each row and its tokens."""
    return RowStatistics(np.array(losses, dtype=np.float64).reshape(-1, 2), score_perplexity, inf)


def score_mean(sums: Numbers) -> Numbers:
    """Of sums and counts."""
    return np.divide(sums[..., 0], sums[..., 1])


def score_perplexity(sums: Numbers) -> Numbers:
    """Of negative log-likelihoods and counts of tokens."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.exp(np.divide(sums[..., 0], sums[..., 1]))
