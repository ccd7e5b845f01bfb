"""What chance explains of a difference between two models on the same rows."""

import pytest

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


@pytest.mark.parametrize("metric", paired_tests.TEXT_METRICS)
def test_a_model_is_no_better_than_itself(metric):
    same = rows("a fog", "rain", "a frost", "fog over the river in the night")
    found = paired_tests.compare_paired(metric, same, same)
    assert (found.difference, found.p_value, found.rows_needed) == (0, 1, None)
    assert found.high == -found.low == pytest.approx(0.462 * (100 if metric == "bleu" else 1), rel=1e-3)  # of 4 rows
    assert paired_tests.judge(found.difference, found.p_value) == "cannot tell"


def test_holm_is_the_books():
    assert paired_tests.adjust_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize("metric, a, b, reason", [
    ("bleurt", [], [], "bleurt: there is no such score to compare; choose from exact_match"),
    ("bleu", rows("rain"), rows("a fog"), "bleu: 1 of at least 2 rows"),
    ("bleu", rows("rain"), rows("rain", "a fog"), "1 and 2 rows are no pairs"),
    ("bleu", rows("rain"), rows("rain", reference="a dog"), "0: the other has 'a dog' in its place"),
])  # fmt: skip
def test_what_cannot_be_compared_is_refused(metric, a, b, reason):
    with pytest.raises(ValueError, match=reason):
        paired_tests.compare_paired(metric, a, b)
