"""What is said first: which model, made of what, how good it is, and how sure that is."""

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from refrain.evaluation.scores import read_scores
from refrain.experiments import lineage, results
from refrain.experiments.html_report.data_flow import name_sources
from refrain.experiments.html_report.markup import escape, tag
from refrain.experiments.html_report.proof_chain import list_links
from refrain.experiments.html_report.proof_section import count_verdicts
from refrain.experiments.html_report.run_reports import RunReports
from refrain.experiments.html_report.score_plot import describe_interval
from refrain.pipeline.plurals import format_count

MOST_FILES = 6  # named on one line


def title(reports: RunReports) -> str:
    """The base by its own name, and the method."""
    method = reports.settings.get("method", {}).get("name")
    return ", ".join(filter(None, [base_name(reports), f"trained with {method}" if method else ""])) or "A model"


def base_name(reports: RunReports) -> str:
    model = reports.settings.get("model", {})
    place = model.get("hub") or model.get("folder")
    return PurePath(str(place)).name if place else str(model.get("name", ""))


def lead(reports: RunReports) -> str:
    """The sentence that counts, and the facts behind it."""
    facts = "".join(tag("dt", escape(name)) + tag("dd", escape(text)) for name, text in list_facts(reports))
    sentence = tag("p", escape(describe_result(reports)), class_="result") if reports.metrics else ""
    return sentence + tag("dl", facts)


def describe_result(reports: RunReports) -> str:
    """The score of the model that is shipped with its interval, and that of the base."""
    chosen = reports.shown_model
    score = read_scores(reports.metrics[chosen])["rougeL"]
    rows = int(reports.metrics[chosen]["rows"])
    sure = f" (95 % interval {describe_interval('rougeL', score)})" if score.low is not None else ""
    who = f"{reports.best}, the variant that is shipped," if reports.best else chosen
    value, tested = results.format_number("rougeL", score.value), format_count(rows, "test row")
    said = f"{who} reaches ROUGE-L {value}{sure} on {tested}"
    base = reports.metrics.get("base")
    before = (
        f"; the base reached {results.format_number('rougeL', base['rougeL'])}" if base and chosen != "base" else ""
    )
    return f"{said}{before}."


def list_facts(reports: RunReports) -> Iterator[tuple[str, str]]:
    if "base" in reports.artifact:
        yield "Base", lineage.describe_base(reports.artifact["base"])
    elif name := base_name(reports):
        yield "Base", name
    if method := describe_method(reports.settings):
        yield "Method", method
    if reports.data:
        yield "Data", describe_data(reports.data)
    if reports.best:
        yield "Shipped", f"{reports.best}, the best of {', '.join(list_variants(reports.parity)) or 'its variants'}"
    if links := list_links(reports):
        yield "Proof", count_verdicts(links)
    if reports.notes:
        name, _, text = reports.notes[0].partition(": ")
        yield name.capitalize(), text


def describe_method(settings: dict[str, Any]) -> str:
    """The method with what is decided most by hand."""
    method, train = settings.get("method", {}), settings.get("train", {})
    adapter = method.get("adapter") or {}
    facts = {"rank": adapter.get("rank"), "epochs": train.get("epochs"), "learning rate": train.get("lr"),
             "batch": train.get("batch_size"), "seed": settings.get("seed")}  # fmt: skip
    known = [f"{name} {value:g}" for name, value in facts.items() if isinstance(value, int | float)]
    return ", ".join(filter(None, [method.get("name", ""), *known]))


def describe_data(data: dict[str, Any]) -> str:
    names = name_sources(data)
    more = f" and {len(names) - MOST_FILES} more" if len(names) > MOST_FILES else ""
    return f"{', '.join(names[:MOST_FILES])}{more}: {format_count(data['rows'], 'row')}, {data['train']:,} learned from"


def list_variants(parity: dict[str, Any]) -> list[str]:
    return [
        name
        for name, facts in parity.items()
        if isinstance(facts, dict) and name != "merged" and not facts.get("fails")
    ]
