"""What chance explains of a score: the 95 % interval from drawing its rows anew (Efron's BCa bootstrap)."""

from collections.abc import Mapping
from math import inf
from statistics import NormalDist

import numpy as np

from refrain.evaluation.corpus_bleu import Numbers
from refrain.evaluation.intervals import Interval, wilson_interval
from refrain.evaluation.row_statistics import RowStatistics

RESAMPLES = 9999
DRAWS = 4_000_000  # rows that are drawn at once, for memory
DIGITS = 10  # of a resampled score: beyond them, processors differ, and equal scores must be equal
TAILS = (0.025, 0.975)


def score_intervals(statistics: Mapping[str, RowStatistics], seed: int = 0) -> dict[str, Interval]:
    """Of scores of the same rows; the same rows give the same intervals. A score that no row tells of has none."""
    widths = [each.rows.shape[1] for each in statistics.values()]
    sums = resample_sums(np.hstack([each.rows for each in statistics.values()]), seed)
    parts = np.split(sums, np.cumsum(widths)[:-1], axis=1)
    found = {name: score_interval(each, part) for (name, each), part in zip(statistics.items(), parts, strict=True)}
    return {name: interval for name, interval in found.items() if interval is not None}


def score_interval(statistics: RowStatistics, sums: Numbers) -> Interval | None:
    """BCa's of the resampled sums; Wilson's where drawing tells nothing, and of rows that are right or wrong."""
    scores = np.round(statistics.score(sums), DIGITS)
    if len(scores) and scores.min() < scores.max() and not is_share(statistics):
        return bca_interval(statistics, scores)
    if statistics.highest == inf:
        return None
    if not len(statistics.rows):
        return 0.0, statistics.highest
    low, high = wilson_interval(statistics.value / statistics.highest, len(statistics.rows))
    return low * statistics.highest, high * statistics.highest


def is_share(statistics: RowStatistics) -> bool:
    """Whether each row is right or wrong, and their mean is the share of those that are right."""
    return bool(statistics.rows.shape[1] == 2 and statistics.highest == 1 and np.isin(statistics.rows, (0, 1)).all())


def bca_interval(statistics: RowStatistics, scores: Numbers) -> Interval:
    """Corrected for bias and skew (Efron 1987); plain percentiles where a correction is undefined."""
    normal, value = NormalDist(), round(statistics.value, DIGITS)
    below = float(((scores < value).mean() + (scores <= value).mean()) / 2)
    left_out = statistics.score(statistics.rows.sum(axis=0) - statistics.rows)
    deviations = left_out.mean() - left_out
    spread = float((deviations**2).sum())
    levels = list(TAILS)
    if 0 < below < 1 and spread > 0:
        bias, skew = normal.inv_cdf(below), float((deviations**3).sum()) / (6 * spread**1.5)
        shifted = [bias + normal.inv_cdf(tail) for tail in TAILS]
        levels = [normal.cdf(bias + shift / (1 - skew * shift)) for shift in shifted]
    low, high = np.quantile(scores, levels)
    return float(low), float(high)


def resample_sums(rows: Numbers, seed: int) -> Numbers:
    """Sums of the columns over as many rows as there are, drawn with replacement, RESAMPLES times."""
    count, columns = rows.shape
    if not count:
        return np.empty((0, columns))
    rng = np.random.Generator(np.random.PCG64(seed))
    sums, step = [], max(1, DRAWS // count)
    for start in range(0, RESAMPLES, step):
        draws = min(step, RESAMPLES - start)
        cells = rng.integers(0, count, (draws, count)) + np.arange(draws)[:, None] * count
        weights = np.bincount(cells.ravel(), minlength=draws * count).reshape(draws, count)
        sums.append(weights.astype(np.float64) @ rows)
    return np.concatenate(sums)
