"""A comparison as JSON; docs/experiments.md describes each key."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from refrain.experiments.comparison import changed_rows
from refrain.experiments.comparison.changed_rows import ChangedRow
from refrain.experiments.comparison.predictions import RunPredictions
from refrain.experiments.comparison.sample_size import ALPHA
from refrain.experiments.comparison.verdicts import Comparison, ScoreResult


def build_document(comparisons: Sequence[Comparison], rows: int) -> dict[str, Any]:
    """All that the table says; of the rows that changed sides at most `rows` on either."""
    return {
        "alpha": ALPHA,
        "adjustment": "holm",
        "tests": sum(len(comparison.scores) for comparison in comparisons),
        "comparisons": [describe_comparison(comparison, rows) for comparison in comparisons],
    }


def describe_comparison(comparison: Comparison, rows: int) -> dict[str, Any]:
    changed = changed_rows.find_changed_rows(comparison.pairs)
    return {
        "candidate": describe_run(comparison.candidate),
        "baseline": describe_run(comparison.baseline),
        "verdict": comparison.verdict,
        "rows": len(comparison.pairs.candidate),
        "only_candidate": len(comparison.pairs.only_candidate),
        "only_baseline": len(comparison.pairs.only_baseline),
        "scores": {score.difference.metric: describe_score(score) for score in comparison.scores},
        "settings": {change.key: {"baseline": change.baseline, "candidate": change.candidate}
                     for change in comparison.changes},
        "inputs": comparison.changed_inputs,
        "changed_rows": {
            "by": changed.by,
            "won_count": len(changed.won),
            "lost_count": len(changed.lost),
            "other_count": changed.others,
            "won": [describe_row(row) for row in changed.won[:rows]],
            "lost": [describe_row(row) for row in changed.lost[:rows]],
        },
    }  # fmt: skip


def describe_run(predictions: RunPredictions) -> dict[str, Any]:
    run = predictions.run
    return {
        "name": run.name,
        "kind": run.kind,
        "commit": run.commit or None,
        "variant": predictions.variant,
        "is_recorded": predictions.is_recorded,
    }


def describe_score(score: ScoreResult) -> dict[str, Any]:
    """With a as the baseline and b as the candidate."""
    facts = asdict(score.difference)
    kept = ("difference", "low", "high", "p_value", "rows_needed", "test")
    return {
        "baseline": facts["a"],
        "candidate": facts["b"],
        **{key: facts[key] for key in kept},
        "p_adjusted": score.p_adjusted,
        "verdict": score.verdict,
    }


def describe_row(row: ChangedRow) -> dict[str, str]:
    return {
        "id": row.candidate["id"],
        "question": row.candidate["question"],
        "reference": row.candidate["reference"],
        "baseline": row.baseline["prediction"],
        "candidate": row.candidate["prediction"],
    }
