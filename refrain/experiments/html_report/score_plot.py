"""What each model reaches on the test rows: dots with their intervals, and all scores as a table."""

from typing import Any

from refrain.evaluation.scores import Score, read_scores
from refrain.experiments import results
from refrain.experiments.html_report import svg
from refrain.experiments.html_report.markup import details, escape, paragraph, tag
from refrain.experiments.html_report.page import Section
from refrain.pipeline.plurals import format_count

ROW, TOP = 30, 8
DASH = "\u2013"  # from one number to another
MEANINGS = {
    "exact_match": "share of answers that are the reference word for word",
    "token_f1": "words in common with the reference, in any order",
    "bleu": "runs of words in common, 0 to 100",
    "rouge1": "words in common",
    "rouge2": "pairs of words in common",
    "rougeL": "longest sequence of words in common",
    "perplexity": "how surprised the model is by the reference; less is better",
}
NAMES = {"exact_match": "exact match", "token_f1": "token F1", "bleu": "BLEU", "rouge1": "ROUGE-1",
         "rouge2": "ROUGE-2", "rougeL": "ROUGE-L", "perplexity": "perplexity"}  # fmt: skip


def scores_section(metrics: dict[str, Any], chosen: str) -> Section:
    """The section of a reports/metrics.json."""
    rows = int(next(iter(metrics.values()))["rows"])
    said = (f"The same {format_count(rows, 'test row')}, which nothing was learned from, for every model: the base "
            "before the training, merged after it, and each variant that is exported from merged.")  # fmt: skip
    caption = ("ROUGE-L, from 0 to 1: the longest sequence of words that an answer has in common with the reference. "
               "The line is the 95 % interval: other test rows of the same kind would give a mean within it 95 times "
               "of 100.")  # fmt: skip
    scores = {name: read_scores(result) for name, result in metrics.items()}
    body = paragraph(said) + svg.figure(lambda width: draw_scores(scores, chosen, width), caption)
    return Section("Scores", body + scores_table(scores))


def scores_table(scores: dict[str, dict[str, Score]]) -> str:
    """A model a line, a score a column, each with its interval below it."""
    kinds = [kind for kind in NAMES if any(kind in score for score in scores.values())]
    head = tag("th", "model", scope="col") + "".join(
        tag("th", NAMES[kind], scope="col", class_="number") for kind in kinds
    )
    body = "".join(
        tag("tr", tag("th", escape(name), scope="row") + "".join(score_cell(kind, score.get(kind)) for kind in kinds))
        for name, score in scores.items()
    )
    caption = "All scores, with their 95 % intervals"
    table = tag("table", tag("caption", caption) + tag("thead", tag("tr", head)) + tag("tbody", body))
    meanings = "".join(tag("dt", NAMES[kind]) + tag("dd", MEANINGS[kind]) for kind in kinds)
    region = tag("div", table, class_="scroll scores", role="region", aria_label=caption, tabindex="0")
    return region + details("What each score counts", tag("dl", meanings))


def score_cell(kind: str, score: Score | None) -> str:
    if score is None:
        return tag("td")
    bounds = tag("span", describe_interval(kind, score, DASH), class_="bounds") if score.low is not None else ""
    return tag("td", f"{results.format_number(kind, score.value)} {bounds}".strip(), class_="number")


def describe_score(kind: str, score: Score) -> str:
    """A score with its interval in brackets, as far as it is known."""
    value = results.format_number(kind, score.value)
    return value + (f" ({describe_interval(kind, score)})" if score.low is not None else "")


def describe_interval(kind: str, score: Score, between: str = " to ") -> str:
    return between.join(results.format_number(kind, bound or 0) for bound in (score.low, score.high))


def draw_scores(scores: dict[str, dict[str, Score]], chosen: str, width: int) -> str:
    """A dot and its whisker for each model, on a scale from 0 to 1."""
    known = {name: score["rougeL"] for name, score in scores.items() if "rougeL" in score}
    is_wide = width >= svg.WIDE
    x = svg.Scale(0, 1, 110 if is_wide else 84, width - (170 if is_wide else 60))
    bottom = TOP + ROW * len(known)
    parts = []
    for value in (0, 0.25, 0.5, 0.75, 1):
        parts += [svg.line(x(value), TOP, x(value), bottom, "grid"),
                  svg.text(x(value), bottom + 16, f"{value:g}", "quiet", "middle")]  # fmt: skip
    for i, (name, score) in enumerate(known.items()):
        middle, class_ = TOP + ROW * (i + 0.5), "strong" if name == chosen else None
        parts.append(svg.text(x.start - 14, middle + 4, name, class_, "end"))
        if score.low is not None and score.high is not None:
            parts.append(svg.line(x(score.low), middle, x(score.high), middle, f"whisker {class_ or ''}".strip()))
        parts.append(svg.circle(x(score.value), middle, 5, f"dot {class_ or ''}".strip()))
        words = describe_score("rougeL", score) if is_wide else results.format_number("rougeL", score.value)
        parts.append(svg.text(x.end + 16, middle + 4, words, class_))
    said = "ROUGE-L by model: " + "; ".join(
        f"{name} {describe_score('rougeL', score)}" for name, score in known.items()
    )
    return svg.picture(width, bottom + 24, said, *parts)
