"""How far a mean over few rows can be trusted: its 95 % interval."""

from collections.abc import Sequence
from math import sqrt

import numpy as np

from refrain.evaluation import metrics
from refrain.evaluation.scoring import Prediction

RESAMPLES = 2000
NORMAL = 1.959964  # standard deviations to either side that hold 95 % of a normal distribution


def rouge_interval(predictions: Sequence[Prediction]) -> tuple[float, float]:
    """Of the mean ROUGE-L over rows like these."""
    texts = [row["prediction"] for row in predictions], [row["reference"] for row in predictions]
    return mean_interval([score["rougeL"] for score in metrics.rouge_of_rows(*texts)])


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Of the mean of values from 0 to 1, by the percentile bootstrap over rows.

    Resampling tells nothing where all values are equal: then it is Wilson's interval, which is never too narrow. The
    same values give the same interval.
    """
    if not values:
        return 0.0, 1.0
    if min(values) == max(values):
        return wilson_interval(values[0], len(values))
    rng = np.random.default_rng(0)
    rows = np.array(values)
    means = [rows[rng.integers(0, len(rows), len(rows))].mean() for _ in range(RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Of a share of so many rows (Wilson 1927)."""
    shrink = 1 + NORMAL**2 / count
    centre = (share + NORMAL**2 / (2 * count)) / shrink
    half = NORMAL / shrink * sqrt(share * (1 - share) / count + NORMAL**2 / (4 * count**2))
    return max(0.0, centre - half), min(1.0, centre + half)
