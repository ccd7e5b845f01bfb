"""Drawn again and again from rows whose truth is known: intervals hold it, and tests cry wolf no more than they may."""

import pytest

from benchmarks import significance
from benchmarks.harness.answer_pools import make_pool
from refrain.evaluation import bootstrap
from refrain.experiments.comparison import randomisation

pytestmark = pytest.mark.heavy
METRICS = "exact_match", "rougeL", "bleu"  # one of each test
TIMES = 300


@pytest.fixture(autouse=True, scope="module")
def few_resamples():
    """Valid for any number of them: more make a p-value finer, and no test stricter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "RESAMPLES", 499)
        patch.setattr(randomisation, "TRIALS", 499)
        yield


def at_most(share):
    """Of TIMES draws, three binomial errors above it."""
    return share + 3 * (share * (1 - share) / TIMES) ** 0.5


@pytest.mark.parametrize("changed", [0.1, 1.0])
def test_false_alarms_are_one_in_twenty_of_each_test_and_of_all_after_holm(changed):
    found = significance.false_alarms(make_pool(0.7, changed, 0.7, 300, METRICS), 60, TIMES)
    assert max(found.values()) <= at_most(0.05)
    assert found["rougeL"] > 0.005 or changed < 1  # it does say something


@pytest.mark.parametrize("skill, rows", [(0.4, 30), (0.97, 60)])
def test_the_interval_of_a_score_holds_the_true_one(skill, rows):
    found = significance.interval_coverage(make_pool(skill, 0, 0, 300, METRICS), rows, TIMES)
    assert min(found.values()) >= 1 - at_most(0.07)  # BCa is a little short where few rows are wrong


@pytest.mark.parametrize("changed, gain", [(0.02, 0.0), (0.5, 0.8)])
def test_the_interval_of_a_difference_holds_the_true_one(changed, gain):
    found = significance.difference_coverage(make_pool(0.8, changed, gain, 300, METRICS), 60, TIMES)
    assert min(found.values()) >= 1 - at_most(0.05)


@pytest.mark.parametrize("metric", METRICS)
def test_as_many_rows_as_are_said_to_be_needed_find_the_difference_in_four_of_five_tests(metric):
    _, found = significance.power_at_rows_needed(make_pool(0.6, 0.5, 0.8, 300, [metric]), metric, TIMES)
    assert 0.72 <= found <= 0.9
