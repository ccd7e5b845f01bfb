"""Intervals by formula are those of the books, and say nothing too sure of few rows."""

import pytest

from refrain.evaluation import intervals


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
