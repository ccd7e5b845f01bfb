"""How many rows it takes to find a difference as large as the one that was seen, in four of five such tests."""

from math import ceil, sqrt
from statistics import NormalDist

POWER = 0.8
ALPHA = 0.05  # two-sided, of every test
FEWEST = 6  # rows: of fewer, no exchange of signs has a chance below 5 %, for 2 of 2^rows are as extreme
QUANTILES = NormalDist().inv_cdf(1 - ALPHA / 2), NormalDist().inv_cdf(POWER)  # 1.96 and 0.84


def rows_for_mean(difference: float, error: float, rows: int) -> int | None:
    """By the standard error of the difference over so many rows, which falls with their root (Cohen 1988)."""
    if difference == 0:
        return None
    return max(FEWEST, ceil(rows * (sum(QUANTILES) * error / difference) ** 2))


def rows_for_mcnemar(losses: int, wins: int, rows: int) -> int | None:
    """By the rows that only one of two has right (Connor, Biometrics 43, 1987).

    With the correction for counting whole rows (Casagrande, Pike and Smith, Biometrics 34, 1978), as the test is exact.
    """
    if losses == wins:
        return None
    discordant, difference = (losses + wins) / rows, (wins - losses) / rows
    alpha, power = QUANTILES
    needed = ((alpha * sqrt(discordant) + power * sqrt(discordant - difference**2)) / difference) ** 2
    return ceil(needed / 4 * (1 + sqrt(1 + 4 / (needed * abs(difference)))) ** 2)
