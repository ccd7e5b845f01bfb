"""The page of a run: its parts in the order in which one would tell of them."""

import re
from collections.abc import Iterator
from pathlib import Path

from refrain.evaluation import metrics
from refrain.experiments.data_table import strip_number
from refrain.experiments.html_report import headline
from refrain.experiments.html_report.data_flow import data_section
from refrain.experiments.html_report.loss_curves import loss_section
from refrain.experiments.html_report.markup import escape, tag
from refrain.experiments.html_report.page import Section, render_page
from refrain.experiments.html_report.proof_chain import list_links
from refrain.experiments.html_report.proof_section import proof_section
from refrain.experiments.html_report.row_table import AnswerRow, row_table
from refrain.experiments.html_report.run_reports import RunReports, read_workspace
from refrain.experiments.html_report.score_plot import scores_section
from refrain.experiments.html_report.size_speed import speed_section
from refrain.pipeline import paths
from refrain.pipeline.plurals import format_count

METRIC, NAME = "rougeL", "ROUGE-L"  # by which rows are sorted
CODE = re.compile(r"`([^`]*)`")


def write_report(file: Path, rev: str | None) -> str:
    """Put the page of the last run, or of a commit, tag or experiment, into a file; a sentence about it."""
    if rev is None:
        reports = read_workspace()
    else:
        from refrain.experiments.html_report import commit_reports  # loads dvc

        reports = commit_reports.read_commit(rev)
    page = render_run(reports)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ValueError(
            f"{file}: it cannot be written ({(error.strerror or str(error)).lower()}); name another file"
        ) from error
    tested = format_count(len(next(iter(reports.predictions.values()), [])), "test row")
    return f"{file}: {len(page.encode()) / 1e3:,.0f} kB, {tested}; any browser opens it, without a network"


def render_run(reports: RunReports) -> str:
    return render_page(headline.title(reports), list(list_sections(reports)), headline.lead(reports))


def list_sections(reports: RunReports) -> Iterator[Section]:
    """The parts whose reports are here."""
    if reports.metrics:
        yield scores_section(reports.metrics, reports.shown_model)
    if reports.data:
        yield data_section(reports.data)
    if reports.curves or reports.train:
        yield loss_section(reports.curves, reports.train)
    if reports.speeds:
        yield speed_section(reports.speeds, reports.machine)
    if links := list_links(reports):
        yield proof_section(links)
    if reports.predictions:
        rows = list_rows(reports)
        yield Section("Test rows", row_table(rows, NAME, pick_model(reports), apart="base"))
    elif notes := [note for note in reports.notes if str(paths.PREDICTIONS) in note]:
        yield Section("Test rows", "".join(tag("p", mark_code(note)) for note in notes))
    yield Section("Of which run this is", notes_list(reports.notes))


def pick_model(reports: RunReports) -> str:
    names = list(reports.predictions)
    return reports.shown_model if reports.shown_model in names else names[-1]


def list_rows(reports: RunReports) -> list[AnswerRow]:
    """The test rows in their order, with what each model said and its score."""
    answers = {name: {row["id"]: row["prediction"] for row in rows} for name, rows in reports.predictions.items()}
    first = next(iter(reports.predictions.values()))
    rows = [row for row in first if all(row["id"] in said for said in answers.values())]
    references = [row["reference"] for row in rows]
    scores = {
        name: metrics.score_rows(METRIC, [said[row["id"]] for row in rows], references)
        for name, said in answers.items()
    }
    return [
        AnswerRow(
            strip_number(row["id"]),
            row["question"],
            row["reference"],
            {name: said[row["id"]] for name, said in answers.items()},
            {name: values[i] for name, values in scores.items()},
        )
        for i, row in enumerate(rows)
    ]


def notes_list(notes: list[str]) -> str:
    """Each note with its commands as code."""
    items = [note.partition(": ") for note in notes]
    pairs = "".join(tag("dt", escape(name)) + tag("dd", mark_code(text)) for name, _, text in items)
    return tag("dl", pairs, class_="notes")


def mark_code(text: str) -> str:
    return CODE.sub(lambda match: tag("code", match[1]), escape(text))
