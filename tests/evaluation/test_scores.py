"""One reading of reports/metrics.json, of this version and of those before it."""

from refrain.evaluation.scores import Score, read_scores


def test_a_score_is_read_with_its_interval_and_a_count_is_no_score():
    result = {"bleu": 88.1, "rougeL": 0.9, "rows": 170, "intervals": {"rougeL": [0.85, 0.93]}}
    assert read_scores(result) == {"bleu": Score(88.1, None, None), "rougeL": Score(0.9, 0.85, 0.93)}


def test_a_report_of_an_earlier_version_has_scores_without_intervals():
    assert read_scores({"rougeL": 0.9, "rows": 170}) == {"rougeL": Score(0.9, None, None)}
