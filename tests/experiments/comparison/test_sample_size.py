"""As many rows as the books say, and as the exact test takes."""

import numpy as np
import pytest
from scipy import stats

from refrain.experiments.comparison import paired_tests, sample_size


def test_half_a_standard_deviation_takes_thirty_two_pairs():
    """((1.96 + 0.84) / 0.5) ** 2 = 31.4, as of Cohen's tables without what t adds."""
    assert sample_size.rows_for_mean(0.5, 1 / 100**0.5, 100) == 32
    assert sample_size.rows_for_mean(-0.5, 1 / 100**0.5, 100) == 32


@pytest.mark.heavy
@pytest.mark.parametrize("losses, wins, rows", [(30, 138, 1000), (300, 100, 1000), (1, 3, 170)])
def test_mcnemars_rows_have_four_of_five_by_the_exact_test(losses, wins, rows):
    needed = sample_size.rows_for_mcnemar(losses, wins, rows)
    assert power(needed, (losses + wins) / rows, wins / (losses + wins)) == pytest.approx(0.82, abs=0.025)


def power(rows, discordant, won):
    """Over how many rows of so many only one has right, and how many of them B has."""
    likely = stats.binom.ppf([1e-6, 1 - 1e-6], rows, discordant).astype(int)
    total = 0.0
    for count in range(likely[0], likely[1] + 1):
        wins = np.arange(count + 1)
        found = [paired_tests.mcnemar(count - int(win), int(win)) < 0.05 for win in wins]
        total += stats.binom.pmf(count, rows, discordant) * stats.binom.pmf(wins, count, won)[found].sum()
    return total


def test_no_difference_is_never_found():
    assert sample_size.rows_for_mean(0, 0.1, 20) is sample_size.rows_for_mcnemar(3, 3, 20) is None


def test_fewer_rows_than_any_test_can_tell_are_never_enough():
    assert sample_size.rows_for_mean(1.0, 0.001, 4) == 6
