"""95 % intervals by formula: Wilson's of a share, Student's of a mean. Those of scores are drawn: bootstrap.py."""

from collections.abc import Sequence
from math import sqrt

import numpy as np

Interval = tuple[float, float]

STUDENT = (  # standard errors to either side that hold 95 % of Student's t, by degrees of freedom from 1 on
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
NORMAL = 1.959964  # standard deviations to either side that hold 95 % of a normal distribution


def wilson_interval(share: float, count: int) -> Interval:
    """Of a share of so many rows (Wilson 1927)."""
    shrink = 1 + NORMAL**2 / count
    centre = (share + NORMAL**2 / (2 * count)) / shrink
    half = NORMAL / shrink * sqrt(share * (1 - share) / count + NORMAL**2 / (4 * count**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def share_interval(hits: int, count: int) -> Interval | None:
    """Wilson's, of so many of a count; None where nothing was counted."""
    if count == 0:
        return None
    low, high = wilson_interval(hits / count, count)
    return (0.0 if hits == 0 else low), (1.0 if hits == count else high)


def student_interval(values: Sequence[float]) -> Interval | None:
    """Student's, of a mean of values of any size; None of fewer than two, which say nothing of their spread."""
    if len(values) < 2:
        return None
    reach = student(len(values) - 1) * float(np.std(values, ddof=1)) / sqrt(len(values))
    mean = float(np.mean(values))
    return mean - reach, mean + reach


def student(degrees: int) -> float:
    """Student's t that holds 95 % on both sides."""
    if degrees <= len(STUDENT):
        return STUDENT[degrees - 1]
    return NORMAL + 2.37 / degrees + 2.8 / degrees**2  # the first terms of its expansion
