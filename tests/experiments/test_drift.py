import json

import pytest

from refrain.experiments import drift


@pytest.mark.parametrize("score, value, verdict", [
    ("perplexity", 20.9, "within"), ("perplexity", 21.1, "beyond"), ("rows", 101, "beyond"), ("bleu", 24.9, "within"),
    ("bleu", 14.9, "beyond"), ("rougeL", 20.04, "within"), ("rougeL", 19.9, "beyond"),
])  # fmt: skip
def test_each_score_has_its_tolerance(score, value, verdict):
    then = {"a": {score: 100 if score == "rows" else 20.0}, "b": {score: 5.0, "name": "text"}}
    now = {"a": {score: value}, "b": {score: 5.0}}
    *_, line, summary = drift.score_table(json.dumps(then), json.dumps(now)).splitlines()
    assert line.split()[2:3] + line.split()[-1:] == ["a", verdict]
    assert summary == ("all scores are within their tolerance" if verdict == "within"
                       else f"scores beyond their tolerance: {score}")  # fmt: skip


def test_scores_that_came_or_went_are_named():
    then, now = json.dumps({"a": {"rows": 1}}), json.dumps({"a": {"rows": 1, "rougeL": 1}, "b": 2})
    assert drift.score_table(then, now) == "reports/metrics.json has other scores than it had: a.rougeL, b"
