"""The chain of proof on the page: a line from link to link, and how much of what is allowed each measure uses."""

from collections import Counter
from collections.abc import Sequence

from refrain.experiments.html_report import svg
from refrain.experiments.html_report.markup import escape, paragraph, tag
from refrain.experiments.html_report.page import Section
from refrain.experiments.html_report.proof_chain import Link, Measure, Verdict

MARKS: dict[Verdict, str] = {
    "holds": "✓",
    "holds, not for certain": "✓",
    "missed, within chance": "≈",
    "left out": "✗",
    "fails": "✗",
}
GAUGE = 64  # pixels for what is allowed


def count_verdicts(links: Sequence[Link]) -> str:
    """How many hold, and what of the others, in words."""
    counts = Counter(link.verdict for link in links)
    uncertain = counts.pop("holds, not for certain", 0)
    holding = counts.pop("holds", 0) + uncertain
    first = f"{'all' if holding == len(links) else f'{holding} of'} {len(links)} links hold"
    aside = [f"{uncertain} of them not for certain"] if uncertain else []
    return ", ".join([first, *aside, *(f"{count} {verdict}" for verdict, count in counts.items())])


def proof_section(links: Sequence[Link]) -> Section:
    words = ("What is shipped is the last of a chain: raw rows, prepared rows, a trained adapter, a merged model, and "
             "variants of it. Each link was measured against the one before; a run in which a required link breaks "
             "stops, and ships nothing. Differences of logits, from which the next token is chosen, are in "
             "standard deviations.")  # fmt: skip
    return Section("Chain of proof", paragraph(words) + tag("ol", "".join(map(render_link, links)), class_="chain"))


def render_link(link: Link) -> str:
    mark = tag("span", MARKS[link.verdict], class_="mark", aria_hidden="true")
    verdict = tag(
        "span", f"{mark} {link.verdict}", class_="verdict is-bad" if MARKS[link.verdict] == "✗" else "verdict"
    )
    body = tag("h3", f"{escape(link.title)} {verdict}") + paragraph(link.words)
    if link.measures:
        body += measures_table(link)
    return tag("li", body + "".join(paragraph(reason, "note") for reason in link.reasons))


def measures_table(link: Link) -> str:
    """The measures of a link; intervals where one is known."""
    has_intervals = any(measure.interval for measure in link.measures)
    header = ["measure", "measured", *(["95 % interval"] if has_intervals else []), "allowed", "used of it"]
    kinds = ["text", "number", *(["number interval"] if has_intervals else []), "number", "gauge"]
    head = "".join(tag("th", words, scope="col", class_=kind) for words, kind in zip(header, kinds, strict=True))
    body = "".join(tag("tr", measure_cells(measure, has_intervals)) for measure in link.measures)
    table = tag("table", tag("thead", tag("tr", head)) + tag("tbody", body))
    return tag("div", table, class_="scroll", role="region", aria_label=f"Measures: {link.title}", tabindex="0")


def measure_cells(measure: Measure, has_intervals: bool) -> str:
    interval = tag("td", escape(measure.interval), class_="number interval") if has_intervals else ""
    numbers = tag("td", measure.value, class_="number") + interval + tag("td", measure.limit, class_="number")
    name = tag("th", escape(measure.name), scope="row", class_="text")
    return name + numbers + tag("td", draw_gauge(measure.share), class_="gauge")


def draw_gauge(share: float) -> str:
    """A bar whose end is what is allowed; beyond it, and where nothing can be measured, red."""
    words = f"{share:.0%}" if share <= 1 else "over"
    filled = svg.rect(0, 4, GAUGE * (share if share <= 1 else 1), 4, "filled" if share <= 1 else "filled strong")
    parts = [svg.line(0, 6, GAUGE, 6, "grid"), filled, svg.line(GAUGE, 1, GAUGE, 11, "node")]
    return svg.picture(GAUGE + 2, 12, f"{words} of what is allowed", *parts) + tag("span", words, aria_hidden="true")
