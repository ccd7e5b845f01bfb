"""Test rows that changed sides: what the candidate has right and the baseline has not, and the other way round."""

from collections.abc import Sequence
from dataclasses import dataclass

from refrain.evaluation import metrics
from refrain.evaluation.scoring import Prediction
from refrain.experiments.comparison.row_pairs import RowPairs

SCORE = "rougeL"  # where no answer is right word for word, and to order rows by


@dataclass(frozen=True)
class ChangedRow:
    candidate: Prediction
    baseline: Prediction
    gain: float  # of ROUGE-L


@dataclass(frozen=True)
class ChangedRows:
    """Won and lost, those first that gained or lost most; `by` is the score that decides."""

    by: str
    won: list[ChangedRow]
    lost: list[ChangedRow]
    others: int  # rows with another answer, neither won nor lost


def find_changed_rows(pairs: RowPairs) -> ChangedRows:
    """By exact match where any row changed so, else by ROUGE-L."""
    rows = [
        ChangedRow(candidate, baseline, gain)
        for candidate, baseline, gain in zip(pairs.candidate, pairs.baseline, gains(pairs), strict=True)
        if candidate["prediction"] != baseline["prediction"]
    ]
    crossed = [row for row in rows if is_exact(row.candidate) != is_exact(row.baseline)]
    if crossed:
        by, won = "exact_match", [row for row in crossed if is_exact(row.candidate)]
        lost = [row for row in crossed if is_exact(row.baseline)]
    else:
        by, won, lost = SCORE, [row for row in rows if row.gain > 0], [row for row in rows if row.gain < 0]
    won.sort(key=lambda row: -row.gain)
    lost.sort(key=lambda row: row.gain)
    return ChangedRows(by, won, lost, len(rows) - len(won) - len(lost))


def gains(pairs: RowPairs) -> list[float]:
    """By how much ROUGE-L of each row is higher with the candidate."""
    after, before = rouge(pairs.candidate), rouge(pairs.baseline)
    return [each - other for each, other in zip(after, before, strict=True)]


def rouge(rows: Sequence[Prediction]) -> list[float]:
    return metrics.score_rows(SCORE, [row["prediction"] for row in rows], [row["reference"] for row in rows])


def is_exact(row: Prediction) -> bool:
    return row["prediction"].strip() == row["reference"].strip()
