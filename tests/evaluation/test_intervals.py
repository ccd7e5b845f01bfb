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


@pytest.mark.parametrize(("hits", "count", "low", "high"), [
    (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718),
])  # fmt: skip
def test_the_interval_of_a_share_is_wilsons(hits, count, low, high):
    """Values of Newcombe, Statistics in Medicine 17 (1998), table I."""
    assert intervals.share_interval(hits, count) == pytest.approx((low, high), abs=5e-5)
    assert intervals.share_interval(count - hits, count) == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_the_interval_of_a_mean_of_any_size_is_students():
    assert intervals.student_interval([1, 2, 3, 4, 5]) == pytest.approx((3 - 1.9633, 3 + 1.9633), abs=1e-3)
    assert intervals.student_interval([4, 4]) == (4, 4)
    assert intervals.student(31) == pytest.approx(2.0395, abs=1e-3) and intervals.student(1000) < 1.963


def test_what_has_no_spread_has_no_interval():
    assert intervals.student_interval([7]) is intervals.student_interval([]) is intervals.share_interval(0, 0) is None
