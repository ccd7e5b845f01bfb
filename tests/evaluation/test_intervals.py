"""An interval holds what resampling the rows would give, and says nothing too sure of few rows."""

import numpy as np
import pytest

from refrain.evaluation import intervals


def test_the_interval_is_about_two_standard_errors_to_either_side():
    rows = np.random.default_rng(1).beta(2, 5, 400)
    error = rows.std() / 20
    assert intervals.mean_interval(rows.tolist()) == pytest.approx(
        (rows.mean() - 1.96 * error, rows.mean() + 1.96 * error), abs=error / 5
    )


def test_the_same_rows_give_the_same_interval():
    rows = [0.0, 0.25, 1.0, 1.0]
    assert intervals.mean_interval(rows) == intervals.mean_interval(rows)


@pytest.mark.parametrize("values, expected", [
    ([1.0] * 12, (0.7575, 1.0)),
    ([0.0], (0.0, 0.7935)),
    ([0.5] * 4, (0.15, 0.85)),
    ([], (0.0, 1.0)),
])  # fmt: skip
def test_equal_rows_and_no_rows_leave_doubt(values, expected):
    assert intervals.mean_interval(values) == pytest.approx(expected, abs=1e-4)


def test_the_interval_of_rouge_is_that_of_the_f_measures_of_the_rows():
    texts = [("a fog", "a fog"), ("rain", "a fog"), ("a frost", "a fog")]
    predictions = [{"id": "", "question": "", "prediction": said, "reference": right} for said, right in texts]
    assert intervals.rouge_interval(predictions) == intervals.mean_interval([1.0, 0.0, 0.5])
