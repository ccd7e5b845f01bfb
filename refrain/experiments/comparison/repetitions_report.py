"""Repetitions for the terminal: mean and spread of each configuration, and which is better."""

import textwrap
from collections.abc import Iterator, Sequence
from statistics import fmean, stdev
from typing import Any

from refrain.experiments.comparison import report
from refrain.experiments.comparison.document import describe_score
from refrain.experiments.comparison.repetitions import RepeatedComparison, Repetitions, scores_of, spread_factors
from refrain.experiments.override_values import to_hydra
from refrain.experiments.text_tables import number_table
from refrain.pipeline.plurals import format_count

COLUMNS = ["score", "mean", "deviation", "lowest", "highest"]


def repetitions_report(
    groups: Sequence[Repetitions], comparisons: Sequence[RepeatedComparison], over: str, metrics: Sequence[str]
) -> str:
    """All configurations, then each against the baseline."""
    parts = [*(describe_group(group, over, metrics) for group in groups), *map(describe_comparison, comparisons)]
    return "\n\n".join([*parts, report.wrap(" ".join(list_remarks(groups, comparisons, over)))])


def describe_group(group: Repetitions, over: str, metrics: Sequence[str]) -> str:
    """Mean and spread of one configuration."""
    values = ", ".join(map(str, group.runs))
    head = report.wrap(f"{name_group(group)}: {format_count(len(group.runs), 'run')}, {over} {values}")
    rows = [spread_cells(metric, list(scores_of(metric, group)[0].values())) for metric in metrics]
    return f"{head}\n{number_table([COLUMNS, *rows])}"


def name_group(group: Repetitions) -> str:
    """By the settings that others have otherwise, as many as are shown of two runs."""
    named = [f"{key}={textwrap.shorten(to_hydra(value), 40)}" for key, value in group.settings.items()]
    more = [f"and {format_count(len(named) - report.SHOWN, 'more setting')}"] * (len(named) > report.SHOWN)
    return ", ".join([*named[: report.SHOWN], *more]) or "the one configuration"


def name_pair(comparison: RepeatedComparison) -> str:
    return f"{name_group(comparison.candidate)} (candidate) against {name_group(comparison.baseline)} (baseline)"


def spread_cells(metric: str, values: Sequence[float]) -> list[str]:
    digits = 2 if metric == "bleu" else 4
    numbers = [fmean(values), stdev(values) if len(values) > 1 else None, min(values), max(values)]
    return [metric, *("-" if number is None else f"{number:.{digits}f}" for number in numbers)]


def describe_comparison(comparison: RepeatedComparison) -> str:
    cells = [report.score_cells(score)[:-1] for score in comparison.scores]
    return f"{report.wrap(name_pair(comparison))}\n{number_table([report.HEADER[:-1], *cells])}"


def list_remarks(groups: Sequence[Repetitions], comparisons: Sequence[RepeatedComparison], over: str) -> Iterator[str]:
    """What so many repetitions can tell, and what they cannot."""
    fewest = min(len(group.runs) for group in groups)
    if fewest == 1:
        yield f"A configuration with one run says nothing of its spread over {over}, so it is not tested."
    repeated = [len(group.runs) for group in groups if len(group.runs) > 1]
    if repeated:
        low, high = spread_factors(min(repeated))
        yield (f"Of {min(repeated)} runs the deviation is known roughly: the true one is {low:.2g} to {high:.2g} times "
               "as large, 95 times of 100.")  # fmt: skip
    if comparisons:
        tests = sum(len(comparison.scores) for comparison in comparisons)
        yield (f"p: of Student's t over seeds and rows together, adjusted by Holm for {format_count(tests, 'test')}; "
               "it tells of other seeds and other rows like these, not of other data.")  # fmt: skip


def build_document(
    groups: Sequence[Repetitions], comparisons: Sequence[RepeatedComparison], over: str, metrics: Sequence[str]
) -> dict[str, Any]:
    """The same as JSON."""
    return {
        "over": over,
        "configurations": [
            {
                "settings": dict(group.settings),
                "runs": [{"name": each.run.name, "value": value} for value, each in group.runs.items()],
                "scores": {metric: list(scores_of(metric, group)[0].values()) for metric in metrics},
            }
            for group in groups
        ],
        "comparisons": [
            {
                "candidate": dict(comparison.candidate.settings),
                "baseline": dict(comparison.baseline.settings),
                "verdict": comparison.verdict,
                "scores": {score.difference.metric: describe_score(score) for score in comparison.scores},
            }
            for comparison in comparisons
        ],
    }
