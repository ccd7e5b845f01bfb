"""Runs that differ in their seed alone, together: their mean and spread, and whether one setting beats another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
from scipy import stats

from refrain.evaluation.corpus_bleu import Numbers
from refrain.experiments.comparison import changed_settings, paired_tests, row_pairs
from refrain.experiments.comparison.changed_settings import Value
from refrain.experiments.comparison.comparable_scores import PERPLEXITY, check_losses, read_statistics, require_known
from refrain.experiments.comparison.paired_tests import Difference
from refrain.experiments.comparison.predictions import RunPredictions
from refrain.experiments.comparison.sample_size import ALPHA
from refrain.experiments.comparison.verdicts import ScoreResult, Verdict, choose_metrics, judge_scores, sum_up

FEWEST = 2  # repetitions: one alone has no spread


@dataclass(frozen=True)
class Repetitions:
    """Runs of one configuration, by the value that is another in each, a seed for instance."""

    settings: Mapping[str, Value]  # those that not all configurations have in common
    runs: Mapping[Value, RunPredictions]


@dataclass(frozen=True)
class RepeatedComparison:
    """One configuration against another, each run several times."""

    candidate: Repetitions
    baseline: Repetitions
    scores: list[ScoreResult]

    @property
    def verdict(self) -> Verdict:
        return sum_up([score.verdict for score in self.scores])


def group_runs(runs: Sequence[RunPredictions], over: str) -> list[Repetitions]:
    """Runs whose settings differ in `over` alone stand together; ValueError where that is no setting of theirs."""
    groups: dict[tuple[object, ...], dict[Value, RunPredictions]] = {}
    settings = [changed_settings.read_values(each.run) for each in runs]
    for values, each in zip(settings, runs, strict=True):
        if over not in values:
            raise ValueError(f"{each.run.name}: its params.yaml has no {over}; --over seed, or another key that it has")
        rest = tuple((key, repr(value)) for key, value in sorted(values.items()) if key != over)
        groups.setdefault(rest, {}).setdefault(values[over], each)
    differing = {key for key in settings[0] if len({repr(values.get(key)) for values in settings}) > 1} - {over}
    firsts = [changed_settings.read_values(next(iter(group.values())).run) for group in groups.values()]
    return [
        Repetitions({key: value for key, value in values.items() if key in differing}, group)
        for values, group in zip(firsts, groups.values(), strict=True)
    ]


def has_same_rows(a: RunPredictions, b: RunPredictions) -> bool:
    """Whether two runs were tested on the same rows."""
    return row_pairs.pair_rows(a.rows, b.rows).is_same_set


def require_same_rows(runs: Sequence[RunPredictions]) -> list[RunPredictions]:
    """Each run with its rows in the order of the first; ValueError where they were tested on other rows."""
    first, aligned = runs[0], []
    for each in runs:
        pairs = row_pairs.pair_rows(first.rows, each.rows)
        if not pairs.is_same_set:
            raise ValueError(f"{each.run.name} and {first.run.name} were tested on different rows: "
                             f"{pairs.describe_difference()}; evaluate all on one test set")  # fmt: skip
        aligned.append(RunPredictions(each.run, each.variant, pairs.baseline, each.is_recorded))
    return aligned


def compare_groups(
    groups: Sequence[Repetitions], baseline: RunPredictions, metrics: Sequence[str] | None
) -> list[RepeatedComparison]:
    """Every configuration with repetitions against that of the baseline, or the first that has some; Holm over all."""
    repeated = [group for group in groups if len(group.runs) >= FEWEST]
    if len(repeated) < 2:
        return []
    own = (group for group in repeated if any(each.run == baseline.run for each in group.runs.values()))
    against = next(own, repeated[0])
    others = [group for group in repeated if group is not against]
    chosen = choose_shared_metrics(repeated, metrics)
    tests = [[compare_means(metric, group, against) for metric in chosen] for group in others]
    adjusted = iter(paired_tests.adjust_holm([result.p_value for results in tests for result in results]))
    return [
        RepeatedComparison(group, against, list(judge_scores(results, adjusted)))
        for group, results in zip(others, tests, strict=True)
    ]


def choose_shared_metrics(groups: Sequence[Repetitions], metrics: Sequence[str] | None) -> list[str]:
    """Those that are asked for, or all of the answers; ValueError for one that a run lacks, or nobody knows."""
    runs = [each for group in groups for each in group.runs.values()]
    chosen = choose_metrics(metrics)
    for metric in chosen:
        require_known(metric)
    if PERPLEXITY in chosen:
        for each in runs:
            check_losses(runs[0].rows, each.rows)
    return chosen


def compare_means(metric: str, candidate: Repetitions, baseline: Repetitions) -> Difference:
    """The mean over repetitions against that of another configuration, by Student's t.

    What it varies by is the sum of two parts, other rows and other seeds; what they have in common is in both, so that
    it errs on the safe side. The same seeds on both sides are pairs.
    """
    (after, rows_after), (before, rows_before) = (scores_of(metric, each) for each in (candidate, baseline))
    count, a, b = len(rows_after), mean_of(before), mean_of(after)
    difference = b - a
    rows_part = float(np.var(rows_after - rows_before, ddof=1)) / count
    freedom, p_value, reach = judge_difference(difference, (rows_part, count - 1), spread_of_difference(after, before))
    test = f"t with {freedom:.1f} degrees of freedom"
    return Difference(metric, a, b, difference, difference - reach, difference + reach, p_value, count, None, test)


def judge_difference(difference: float, *parts: tuple[float, float]) -> tuple[float, float, float]:
    """Of variances and their degrees of freedom: those of the sum (Satterthwaite 1946), p-value, half an interval."""
    total = sum(variance for variance, _ in parts)
    if total == 0:
        return inf, float(difference == 0), 0.0
    freedom = total**2 / sum(variance**2 / each for variance, each in parts)
    reach = float(stats.t.ppf(1 - ALPHA / 2, freedom)) * sqrt(total)
    return freedom, float(2 * stats.t.sf(abs(difference) / sqrt(total), freedom)), reach


def mean_of(values: Mapping[Value, float]) -> float:
    return float(np.mean(list(values.values())))


def spread_of_difference(after: Mapping[Value, float], before: Mapping[Value, float]) -> tuple[float, float]:
    """The variance of a difference of means over seeds, and its degrees of freedom."""
    if after.keys() == before.keys():
        gains = [after[seed] - before[seed] for seed in after]
        return float(np.var(gains, ddof=1)) / len(gains), len(gains) - 1
    parts = [float(np.var(list(each.values()), ddof=1)) / len(each) for each in (after, before)]
    return sum(parts), min(len(after), len(before)) - 1


def scores_of(metric: str, group: Repetitions) -> tuple[dict[Value, float], Numbers]:
    """The score of each repetition, and the jackknife's pseudo-values of the rows, averaged over repetitions.

    Of a mean these are the scores of the rows; of BLEU and perplexity they are what each row adds.
    """
    values, rows = {}, []
    for seed, each in group.runs.items():
        statistics = read_statistics(metric, each.rows)
        count, total = len(statistics.rows), statistics.rows.sum(axis=0)
        values[seed] = statistics.value
        rows.append(count * statistics.value - (count - 1) * statistics.score(total - statistics.rows))
    return values, np.mean(rows, axis=0)


def spread_factors(count: int) -> tuple[float, float]:
    """How far the true standard deviation over seeds may lie below and above that of so many, 95 times of 100."""
    freedom = count - 1
    low, high = (sqrt(freedom / stats.chi2.ppf(share, freedom)) for share in (1 - ALPHA / 2, ALPHA / 2))
    return low, high
