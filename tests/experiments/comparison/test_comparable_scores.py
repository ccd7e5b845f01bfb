"""Only what two models have in common is compared, and what they have not is named."""

import pytest

from refrain.experiments.comparison import paired_tests

SAME = {"question": "", "prediction": "rain", "reference": "a fog"}


def rows(*others):
    return [{"id": str(i), **SAME, **other} for i, other in enumerate(others)]


LOSSES = rows({"loss": 1.5, "tokens": 3}, {"loss": 2.5, "tokens": 4})


@pytest.mark.parametrize("metric, a, b, reason", [
    ("bleurt", [], [], "bleurt: there is no such score to compare; choose from exact_match"),
    ("bleu", rows({}), rows({}), "bleu: 1 of at least 2 rows"),
    ("bleu", rows({}), rows({}, {}), "1 and 2 rows are no pairs"),
    ("bleu", rows({}), rows({"reference": "a dog"}), "0: the other has 'a dog' in its place"),
    ("bleu", rows({}), rows({"id": "9"}), "0: the other has '9' in its place"),
    ("perplexity", LOSSES, rows({}, {}), "row 0 has no loss in its prediction; run evaluate again, or"),
    ("perplexity", LOSSES, [LOSSES[0], {**LOSSES[1], "tokens": 5}], "row 1 is 4 tokens to one model and 5 to the oth"),
])  # fmt: skip
def test_what_cannot_be_compared_is_refused(metric, a, b, reason):
    with pytest.raises(ValueError, match=reason):
        paired_tests.compare_paired(metric, a, b)
