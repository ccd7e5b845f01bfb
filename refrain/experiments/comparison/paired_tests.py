"""Whether B is better than A on the same rows, or whether chance explains the difference: one test for each score."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isfinite, sqrt
from typing import Literal

import numpy as np
from scipy import stats

from refrain.evaluation import bootstrap
from refrain.evaluation.corpus_bleu import Numbers
from refrain.evaluation.intervals import NORMAL, Interval
from refrain.evaluation.row_statistics import RowStatistics
from refrain.evaluation.scoring import Prediction
from refrain.experiments.comparison import randomisation, sample_size
from refrain.experiments.comparison.comparable_scores import PERPLEXITY, check_pairs, read_statistics
from refrain.experiments.comparison.sample_size import ALPHA

Judgement = Literal["better", "worse", "cannot tell"]
FEWEST = 2  # rows: one alone says nothing of the next


@dataclass(frozen=True)
class Difference:
    """Of a score of B above that of A."""

    metric: str
    a: float
    b: float
    difference: float
    low: float  # its 95 % interval
    high: float
    p_value: float
    rows: int
    rows_needed: int | None  # to find this difference with 80 % power; None where there is none
    test: str

    @property
    def gain(self) -> float:
        """The difference, negative where B is worse: of a perplexity, less is better."""
        return -self.difference if self.metric == PERPLEXITY else self.difference


def compare_paired(metric: str, a: Sequence[Prediction], b: Sequence[Prediction], seed: int = 0) -> Difference:
    """A score of two models on the same rows in the same order; ValueError where they are not the same."""
    check_pairs(metric, a, b)
    return compare_statistics(metric, read_statistics(metric, a), read_statistics(metric, b), seed)


def compare_statistics(metric: str, a: RowStatistics, b: RowStatistics, seed: int = 0) -> Difference:
    """A score of the same rows of two models, or of anything else that comes in pairs."""
    rows = len(a.rows)
    if rows < FEWEST:
        raise ValueError(f"{metric}: {rows} of at least {FEWEST} rows that a comparison needs; test on more")
    if not (np.isfinite(a.rows).all() and np.isfinite(b.rows).all() and isfinite(a.value) and isfinite(b.value)):
        raise ValueError(f"{metric}: a row has a score that is no number; compare another score")
    pairs = RowStatistics(np.hstack([a.rows, b.rows]), difference_of(a), a.highest)
    error = float(pairs.score(bootstrap.resample_sums(pairs.rows, seed)).std())
    low, high = difference_interval(pairs.value, error, rows, a.highest)
    p_value, test = find_p_value(metric, a, b, seed)
    if metric == "exact_match":
        needed = sample_size.rows_for_mcnemar(*count_discordant(a, b), rows)
    else:
        needed = sample_size.rows_for_mean(pairs.value, error, rows)
    return Difference(metric, a.value, b.value, pairs.value, low, high, p_value, rows, needed, test)


def find_p_value(metric: str, a: RowStatistics, b: RowStatistics, seed: int = 0) -> tuple[float, str]:
    """The two-sided p-value of a score's difference, and the name of the test."""
    if metric == "exact_match":
        return mcnemar(*count_discordant(a, b)), "McNemar, exact"
    return randomisation.swap_test(a, b, seed)


def count_discordant(a: RowStatistics, b: RowStatistics) -> tuple[int, int]:
    """How many rows A alone has right, and how many B alone."""
    losses, wins = (int(((a.rows - b.rows)[:, 0] == sign).sum()) for sign in (1, -1))
    return losses, wins


def difference_of(statistics: RowStatistics) -> Callable[[Numbers], Numbers]:
    """The score of the second half of the columns above that of the first."""
    width = statistics.rows.shape[1]
    return lambda sums: statistics.score(sums[..., width:]) - statistics.score(sums[..., :width])


def difference_interval(difference: float, error: float, rows: int, largest: float) -> Interval:
    """By the standard error of the bootstrap, and two more rows: one that A wins by all there is, and one that B wins.

    Where few rows differ, resampling is too sure of the others. Of shares it is the interval of Bonett and Price
    (J. Educ. Behav. Stat. 37, 2012).
    """
    if largest == inf:  # no row wins by that
        return difference - NORMAL * error, difference + NORMAL * error
    more = rows + 2
    centre = rows * difference / more
    squares = rows * (rows * error**2 + difference**2) + 2 * largest**2
    reach = NORMAL * sqrt((squares / more - centre**2) / more)
    return max(-largest, centre - reach), min(largest, centre + reach)


def mcnemar(losses: int, wins: int) -> float:
    """Two-sided, of rows that only one of two has right: as many either way by chance (McNemar 1947, exact)."""
    return float(stats.binomtest(wins, losses + wins).pvalue) if losses + wins else 1.0


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """Of several tests, so that a false alarm among them all is as rare as of one (Holm 1979); in the given order."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def judge(difference: float, p_value: float, alpha: float = ALPHA) -> Judgement:
    """Of B against A, by a difference that is positive where B is better, as `Difference.gain`."""
    if p_value >= alpha or difference == 0:
        return "cannot tell"
    return "better" if difference > 0 else "worse"
