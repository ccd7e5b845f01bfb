"""Each score of one run against that of another, and what all of them together say."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from refrain.evaluation.row_statistics import TEXT_METRICS
from refrain.evaluation.scoring import Prediction
from refrain.experiments.comparison import changed_settings, paired_tests, row_pairs
from refrain.experiments.comparison.changed_settings import Change
from refrain.experiments.comparison.paired_tests import Difference, Judgement
from refrain.experiments.comparison.predictions import RunPredictions
from refrain.experiments.comparison.row_pairs import RowPairs

Verdict = Judgement | Literal["mixed"]


@dataclass(frozen=True)
class ScoreResult:
    """A score of the candidate against the baseline."""

    difference: Difference  # of the candidate above the baseline: a is the baseline, b the candidate
    p_adjusted: float  # Holm, over all scores of all pairs of runs
    verdict: Judgement


@dataclass(frozen=True)
class Comparison:
    """A candidate against a baseline."""

    candidate: RunPredictions
    baseline: RunPredictions
    pairs: RowPairs
    scores: list[ScoreResult]
    changes: list[Change]
    changed_inputs: list[str]

    @property
    def names(self) -> str:
        return f"{self.candidate.run.name} (candidate) against {self.baseline.run.name} (baseline)"

    @property
    def verdict(self) -> Verdict:
        """Better or worse where some score says so and none the opposite; mixed where both are said."""
        return sum_up([score.verdict for score in self.scores])

    @property
    def has_equal_answers(self) -> bool:
        return texts_of(self.pairs.candidate) == texts_of(self.pairs.baseline)


def compare_runs(
    runs: Sequence[tuple[RunPredictions, RunPredictions]], metrics: Sequence[str] | None, common: bool
) -> list[Comparison]:
    """Each candidate against its baseline in all metrics or some, adjusted over all of them.

    ValueError for test sets that differ, unless their common rows will do.
    """
    pairs = [pair_runs(candidate, baseline, common) for candidate, baseline in runs]
    tests = [[compare_score(metric, each) for metric in choose_metrics(metrics)] for each in pairs]
    adjusted = iter(paired_tests.adjust_holm([result.p_value for results in tests for result in results]))
    return [
        Comparison(
            candidate, baseline, each, list(judge_scores(results, adjusted)),
            changed_settings.list_changes(candidate.run, baseline.run),
            changed_settings.list_changed_inputs(candidate.run, baseline.run),
        )
        for (candidate, baseline), each, results in zip(runs, pairs, tests, strict=True)
    ]  # fmt: skip


def pair_runs(candidate: RunPredictions, baseline: RunPredictions, common: bool) -> RowPairs:
    """Their rows side by side; ValueError where they were tested on other rows, unless the common ones will do."""
    pairs = row_pairs.pair_rows(candidate.rows, baseline.rows)
    names = f"{candidate.run.name} and {baseline.run.name}"
    if not pairs.candidate:
        raise ValueError(
            f"{names} have no test row in common, so nothing can be compared; evaluate both on one test set, or name "
            "only runs that were"
        )
    if not pairs.is_same_set and not common:
        raise ValueError(f"{names} were tested on different rows: {pairs.describe_difference()}; --common compares "
                         "those in both, or evaluate both on one test set")  # fmt: skip
    return pairs


def choose_metrics(wanted: Sequence[str] | None) -> list[str]:
    """Those that are asked for, or all scores of the answers.

    Perplexity is of the references: it moves with every further training, also where no answer does.
    """
    return list(TEXT_METRICS if wanted is None else dict.fromkeys(wanted))


def compare_score(metric: str, pairs: RowPairs) -> Difference:
    """The candidate's score above the baseline's, whatever ids the rows have."""
    candidate: list[Prediction] = [
        {**row, "id": other["id"]} for row, other in zip(pairs.candidate, pairs.baseline, strict=True)
    ]
    return paired_tests.compare_paired(metric, pairs.baseline, candidate)


def judge_scores(results: Sequence[Difference], adjusted: Iterator[float]) -> Iterator[ScoreResult]:
    for result in results:
        p_value = next(adjusted)
        yield ScoreResult(result, p_value, paired_tests.judge(result.gain, p_value))


def sum_up(verdicts: Sequence[Judgement]) -> Verdict:
    """Of several scores, or pairs."""
    said = {verdict for verdict in verdicts if verdict != "cannot tell"}
    return "mixed" if len(said) > 1 else said.pop() if said else "cannot tell"


def texts_of(rows: Sequence[Prediction]) -> list[str]:
    return [row["prediction"] for row in rows]
