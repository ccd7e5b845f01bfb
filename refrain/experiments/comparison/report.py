"""A comparison for the terminal, in a hundred columns; the words candidate and baseline stand in every part."""

import textwrap
from collections.abc import Iterator, Sequence

from refrain.chat.control_characters import escape_controls
from refrain.experiments.comparison import changed_rows
from refrain.experiments.comparison.changed_rows import ChangedRow, ChangedRows
from refrain.experiments.comparison.changed_settings import Change
from refrain.experiments.comparison.predictions import RunPredictions
from refrain.experiments.comparison.row_pairs import RowPairs
from refrain.experiments.comparison.sample_size import ALPHA, POWER
from refrain.experiments.comparison.verdicts import Comparison, ScoreResult
from refrain.experiments.override_values import to_hydra
from refrain.experiments.text_tables import number_table, text_table
from refrain.pipeline import paths
from refrain.pipeline.plurals import format_count

WIDTH = 100
NAMES = len("candidate")  # the widest name of a fact
SHOWN = 6  # settings that differ, beyond which the others are counted
LINES = 4  # of a text of a row
HEADER = ["score", "baseline", "candidate", "difference", "95 % interval", "p", "verdict", "rows needed"]


def comparison_report(comparisons: Sequence[Comparison], rows: int) -> str:
    """Each candidate against its baseline, with at most `rows` rows lost and as many won."""
    parts = ["\n\n".join(describe_comparison(each, rows)) for each in comparisons]
    return f"\n\n{'-' * WIDTH}\n\n".join(parts) + f"\n\n{wrap(footnote(comparisons))}"


def describe_comparison(comparison: Comparison, rows: int) -> Iterator[str]:
    yield fact_table(list_facts(comparison))
    yield number_table([HEADER, *map(score_cells, comparison.scores)])
    yield wrap(describe_verdict(comparison))
    found = changed_rows.find_changed_rows(comparison.pairs)
    yield wrap(count_changed_rows(found))
    for side, changed in (("lost", found.lost), ("won", found.won)):
        yield from (describe_row(side, row) for row in changed[:rows])


def list_facts(comparison: Comparison) -> list[tuple[str, str]]:
    """What is compared, on what, and what differs between the two."""
    return [
        ("candidate", describe_run(comparison.candidate)),
        ("baseline", describe_run(comparison.baseline)),
        ("test rows", describe_pairs(comparison.pairs)),
        ("differ", describe_changes(comparison)),
    ]


def describe_run(predictions: RunPredictions) -> str:
    """What a run is, and of which variant the answers are."""
    run = predictions.run
    variant = f"variant {predictions.variant}" + (", its best" if run.variant == paths.BEST else "")
    remark = "" if predictions.is_recorded else " (not as dvc.lock lists it)"
    return f"{run.name}, {variant}: {run.describe()}{remark}"


def describe_pairs(pairs: RowPairs) -> str:
    count = len(pairs.candidate)
    if pairs.is_same_set:
        return f"{count}, the same for both"
    return f"{count} in common, for the test sets differ: {pairs.describe_difference()}"


def describe_changes(comparison: Comparison) -> str:
    """The settings and inputs that are not the same, from the baseline to the candidate."""
    variants = [each.variant for each in (comparison.baseline, comparison.candidate)]
    changes = [f"variant {' -> '.join(variants)}"] * (variants[0] != variants[1])
    changes += [describe_change(change) for change in comparison.changes[:SHOWN]]
    if more := comparison.changes[SHOWN:]:
        changes.append(f"and {format_count(len(more), 'more setting')}")
    changes += [f"{path} is another" for path in comparison.changed_inputs]
    return "; ".join(changes) or "no setting, and no input of the training"


def describe_change(change: Change) -> str:
    before, after = (textwrap.shorten(to_hydra(value), 40) for value in (change.baseline, change.candidate))
    return f"{change.key} {before} -> {after}"


def score_cells(score: ScoreResult) -> list[str]:
    """A line of the table."""
    result = score.difference
    digits = 2 if result.metric == "bleu" else 4
    return [
        result.metric,
        f"{result.a:.{digits}f}",
        f"{result.b:.{digits}f}",
        f"{result.difference:+.{digits}f}",
        f"{result.low:+.{digits}f} to {result.high:+.{digits}f}",
        format_p(score.p_adjusted),
        score.verdict,
        describe_rows_needed(score),
    ]


def describe_rows_needed(score: ScoreResult) -> str:
    """How many rows would tell; of a difference that is told, or that is none, nothing."""
    needed = score.difference.rows_needed
    return f"about {round_up(needed):,}" if score.verdict == "cannot tell" and needed else "-"


def round_up(count: int) -> int:
    """To two digits that count."""
    unit = int(10 ** max(0, len(str(count)) - 2))
    return -(-count // unit) * unit


def format_p(p_value: float) -> str:
    return "<0.001" if p_value < 0.001 else f"{p_value:.3f}"


def describe_verdict(comparison: Comparison) -> str:
    """All scores in a sentence that names both roles."""
    names = comparison.names
    if comparison.has_equal_answers and comparison.verdict == "cannot tell":
        return f"{names}: cannot tell, for both give the same answer to each row"
    listed: dict[str, list[str]] = {}
    for score in comparison.scores:
        listed.setdefault(score.verdict, []).append(score.difference.metric)
    openings = {"better": "better in", "worse": "worse in", "cannot tell": "cannot tell in"}
    return f"{names}: " + "; ".join(
        f"{opening} {', '.join(listed[verdict])}" for verdict, opening in openings.items() if verdict in listed
    )


def count_changed_rows(found: ChangedRows) -> str:
    """How many rows changed sides, and by which score."""
    by = "exact match" if found.by == "exact_match" else "ROUGE-L, for no exact match came or went"
    more = f"; another answer in {format_count(found.others, 'other row')}" if found.others else ""
    return f"rows that changed sides, by {by}: {len(found.lost)} lost and {len(found.won)} won by the candidate{more}"


def describe_row(side: str, row: ChangedRow) -> str:
    """A row with both answers."""
    texts = [
        (side, row.candidate["id"]),
        ("question", row.candidate["question"]),
        ("reference", row.candidate["reference"]),
        ("baseline", row.baseline["prediction"] or "(nothing)"),
        ("candidate", row.candidate["prediction"] or "(nothing)"),
    ]
    return fact_table([(name, escape_controls(" ".join(text.split()))) for name, text in texts])


def fact_table(facts: Sequence[tuple[str, str]]) -> str:
    """Names and texts beside them; what is longer than some lines is cut."""
    return text_table([
        (name.ljust(NAMES) if i == 0 else "", line)
        for name, text in facts
        for i, line in enumerate(textwrap.wrap(text, WIDTH - NAMES - 2, max_lines=LINES))
    ])  # fmt: skip


def footnote(comparisons: Sequence[Comparison]) -> str:
    """How to read the numbers."""
    tests = sum(len(comparison.scores) for comparison in comparisons)
    return ("difference: candidate minus baseline, over pairs of rows. p: of a paired test (McNemar for exact match), "
            f"adjusted by Holm for {format_count(tests, 'test')}; a verdict needs less than {ALPHA}. rows needed: "
            f"so many would tell this difference, were it real, {POWER * 100:.0f} times of 100.")  # fmt: skip


def wrap(text: str) -> str:
    return "\n".join(textwrap.wrap(text, WIDTH))
