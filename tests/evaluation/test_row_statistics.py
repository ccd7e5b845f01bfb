"""Sums over rows have the score that all rows have."""

import math

import pytest

from refrain.evaluation import metrics, row_statistics

TEXTS = ["the fog", "no rain today", "", "ice 🧊"], ["a fog", "no rain today", "a dog", "ice 🧊"]


@pytest.mark.parametrize("metric", row_statistics.TEXT_METRICS)
def test_the_score_of_the_sums_is_the_score_of_the_texts(metric):
    found = row_statistics.text_statistics(metric, *TEXTS)
    assert found.value == pytest.approx(metrics.score_texts(*TEXTS)[metric], abs=1e-9)
    assert len(found.rows) == 4


def test_perplexity_weighs_rows_by_their_tokens():
    losses = row_statistics.perplexity_statistics([(3 * math.log(2), 3), (math.log(8), 1)])
    assert losses.value == pytest.approx(2**1.5)
