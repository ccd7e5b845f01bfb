"""What chance explains of a difference between two models on the same rows."""

import pytest

from refrain.evaluation import row_statistics
from refrain.evaluation.row_statistics import TEXT_METRICS
from refrain.experiments.comparison import paired_tests


def rows(*replies, reference="a fog"):
    return [
        {"id": str(i), "question": "", "prediction": text, "reference": reference} for i, text in enumerate(replies)
    ]


def test_seven_rows_won_and_none_lost_are_better_by_mcnemars_exact_test():
    found = paired_tests.compare_paired("exact_match", rows(*["rain"] * 7, "a fog"), rows(*["a fog"] * 8))
    assert (found.a, found.b, found.difference, found.rows) == (0.125, 1, 0.875, 8)
    assert found.p_value == pytest.approx(2 * 0.5**7)
    assert paired_tests.judge(found.difference, found.p_value) == "better"
    assert paired_tests.judge(-found.difference, found.p_value) == "worse"


@pytest.mark.parametrize("metric", TEXT_METRICS)
def test_a_model_is_no_better_than_itself(metric):
    same = rows("a fog", "rain", "a frost", "fog over the river in the night")
    found = paired_tests.compare_paired(metric, same, same)
    assert (found.difference, found.p_value, found.rows_needed) == (0, 1, None)
    assert found.high == -found.low == pytest.approx(0.462 * (100 if metric == "bleu" else 1), rel=1e-3)  # of 4 rows
    assert paired_tests.judge(found.difference, found.p_value) == "cannot tell"


def test_holm_is_the_books():
    assert paired_tests.adjust_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_a_perplexity_that_falls_is_a_gain():
    a, b = (
        [{**row, "loss": loss + i % 5, "tokens": 4} for i, row in enumerate(rows(*["rain"] * 20))] for loss in (3.2, 3)
    )
    found = paired_tests.compare_paired("perplexity", a, b)
    assert found.difference < 0 < found.gain and found.high < 0
    assert paired_tests.judge(found.gain, found.p_value) == "better"


def test_a_score_that_is_no_number_is_refused():
    a = row_statistics.perplexity_statistics([(1.0, 3), (float("nan"), 3)])
    with pytest.raises(ValueError, match="loss: a row has a score that is no number"):
        paired_tests.compare_statistics("loss", a, a)
