"""As many rows as the books say."""

import pytest

from refrain.experiments.comparison import sample_size


def test_half_a_standard_deviation_takes_thirty_two_pairs():
    """Cohen 1988: ((1.96 + 0.84) / 0.5) ** 2 = 31.4."""
    assert sample_size.rows_for_mean(0.5, 1 / 100**0.5, 100) == 32


def test_mcnemar_takes_connors_rows():
    """Twice as many won as lost among 30 %: 257 in Connor's formula."""
    assert sample_size.rows_for_mcnemar(10, 20, 100) == pytest.approx(234, abs=5)


def test_no_difference_is_never_found():
    assert sample_size.rows_for_mean(0, 0.1, 20) is sample_size.rows_for_mcnemar(3, 3, 20) is None
