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


TEXTS = ["the fog", "no rain today", "", "ice 🧊", "a dog"], ["a fog", "no rain today", "a dog", "ice 🧊", "a dog"]


def test_every_machine_draws_the_same():
    statistics = {name: row_statistics.text_statistics(name, *TEXTS) for name in ("bleu", "rougeL")}
    statistics["perplexity"] = row_statistics.perplexity_statistics([(3.5, 4), (0.5, 4), (2.25, 2), (9.0, 7), (1, 1)])
    losses = row_statistics.perplexity_statistics([(number**0.5, 1 + number % 7) for number in range(40)])
    assert bootstrap.score_intervals({"p": losses})["p"] == pytest.approx((2.435908, 3.626563), abs=1e-6)
    found = {name: [round(bound, 6) for bound in ends] for name, ends in bootstrap.score_intervals(statistics).items()}
    assert found == {"bleu": [0.0, 43.448247], "rougeL": [0.3, 1.0], "perplexity": [1.423247, 3.442201]}
    alone = bootstrap.score_intervals({"rougeL": statistics["rougeL"]})["rougeL"]
    assert found["rougeL"] == [round(bound, 6) for bound in alone]


def test_a_perplexity_of_one_row_or_of_no_number_has_no_interval():
    for losses in [[(2.0, 3)], [], [(float("nan"), 3), (1.0, 3)], [(1.0, 0), (2.0, 0)]]:
        assert bootstrap.score_intervals({"perplexity": row_statistics.perplexity_statistics(losses)}) == {}
