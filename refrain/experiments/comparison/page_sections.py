"""A comparison as sections of a page: the same facts and scores as in the terminal, and every row with both answers."""

from collections.abc import Iterator, Sequence

from refrain.experiments.comparison import changed_rows, report
from refrain.experiments.comparison.verdicts import Comparison
from refrain.experiments.html_report.markup import paragraph, plain_table
from refrain.experiments.html_report.page import Section
from refrain.experiments.html_report.row_table import AnswerRow, row_table

BASELINE, CANDIDATE = "baseline", "candidate"


def build_sections(comparisons: Sequence[Comparison]) -> list[Section]:
    """Two of each comparison."""
    return [section for comparison in comparisons for section in describe_comparison(comparison)]


def describe_comparison(comparison: Comparison) -> Iterator[Section]:
    names = comparison.names
    facts = [list(fact) for fact in report.list_facts(comparison)]
    scores = [report.score_cells(score) for score in comparison.scores]
    yield Section(
        names,
        paragraph(report.describe_verdict(comparison))
        + plain_table("What is compared", ["", "what it is"], facts, texts=2)
        + plain_table("Scores", report.HEADER, scores)
        + paragraph(report.footnote([comparison])),
    )
    counts = report.count_changed_rows(changed_rows.find_changed_rows(comparison.pairs))
    yield Section(f"Answers: {names}", paragraph(counts) + row_table(answer_rows(comparison), "ROUGE-L", CANDIDATE))


def answer_rows(comparison: Comparison) -> list[AnswerRow]:
    """Every row with both answers."""
    after, before = (changed_rows.rouge(rows) for rows in (comparison.pairs.candidate, comparison.pairs.baseline))
    return [
        AnswerRow(
            row["id"],
            row["question"],
            row["reference"],
            {BASELINE: other["prediction"], CANDIDATE: row["prediction"]},
            {BASELINE: lower, CANDIDATE: score},
        )
        for row, other, score, lower in zip(
            comparison.pairs.candidate, comparison.pairs.baseline, after, before, strict=True
        )
    ]
