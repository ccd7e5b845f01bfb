"""An interval is scipy's of the same draws, the same each time, and says nothing too sure of few rows."""

import numpy as np
import pytest
from scipy import stats

from refrain.evaluation import bootstrap, row_statistics


def interval(values):
    return bootstrap.score_intervals({"score": row_statistics.mean_statistics(values)})["score"]


def test_the_interval_of_a_mean_is_the_bca_interval_of_scipy():
    rows = np.random.default_rng(1).beta(5, 1, 60)
    theirs = stats.bootstrap((rows,), np.mean, method="BCa", n_resamples=20_000, rng=3).confidence_interval
    assert interval(rows.tolist()) == pytest.approx(tuple(theirs), abs=rows.std() / 60**0.5 / 20)


@pytest.mark.parametrize("values, expected", [
    ([1.0] * 12, (0.7575, 1.0)),
    ([0.0], (0.0, 0.7935)),
    ([0.5] * 4, (0.15, 0.85)),
    ([], (0.0, 1.0)),
    ([1.0] * 81 + [0.0] * 182, (0.2553, 0.3662)),  # shares
])  # fmt: skip
def test_equal_rows_no_rows_and_shares_have_wilsons_interval(values, expected):
    assert interval(values) == pytest.approx(expected, abs=1e-4)
