"""The chain of proof from raw rows to the files that are shipped, each link with its measures and what is allowed."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from refrain.evaluation import divergence
from refrain.experiments.html_report import svg
from refrain.experiments.html_report.markup import escape, paragraph, tag
from refrain.experiments.html_report.page import Section
from refrain.experiments.html_report.run_reports import RunReports

Verdict = Literal["holds", "holds, not for certain", "missed, within chance", "left out", "fails"]
MARKS: dict[Verdict, str] = {
    "holds": "✓",
    "holds, not for certain": "✓",
    "missed, within chance": "≈",
    "left out": "✗",
    "fails": "✗",
}
OUTCOMES: dict[str, tuple[Verdict, str]] = {  # what reports/parity.json lists of a variant, the worst first
    "fails": ("left out", "It misses a threshold, so it is not shipped"),
    "missed_by_chance": ("missed, within chance", "It misses a threshold, but other prompts may well reach it"),
    "reached_by_chance": ("holds, not for certain", "It reaches all thresholds, but with other prompts it may not"),
}
LEAKS = ("exact_leak", "near_leak", "group_leak", "contaminated")
MODES = {
    "whole": "largest difference of a logit, all at once",
    "cached": "… token by token",
    "batched": "… several conversations at a time",
    "chunked": "… the prompt in two pieces",
}
GAUGE = 64  # pixels for what is allowed


@dataclass(frozen=True)
class Measure:
    """One number of a link: what was measured, what is allowed, and how much of that it takes."""

    name: str
    value: str
    limit: str
    share: float  # of what is allowed: 1 is the bar
    interval: str = ""


@dataclass(frozen=True)
class Link:
    """One step of the chain: what it says, in words, whether it holds, and by which numbers."""

    title: str
    words: str
    verdict: Verdict
    measures: list[Measure]
    reasons: list[str]


def list_links(reports: RunReports) -> list[Link]:
    """The links whose reports are here, in the order in which they hold each other."""
    merge, parity = merge_links(reports.merge, reports.settings), variant_links(reports.parity, reports.settings)
    return [*data_links(reports.data), *training_links(reports.train), *merge, *parity]


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


def data_links(data: dict[str, Any]) -> Iterator[Link]:
    if not data:
        return
    placed = sum(data[place] for place in ("train", "val", "test", "duplicates", "quarantined", "set_aside"))
    yield Link(
        "Raw rows = prepared rows",
        f"{data['rows']:,} rows were read, and {placed:,} are accounted for, each in exactly one place.",
        "holds" if placed == data["rows"] else "fails", [], [],
    )  # fmt: skip
    left_out = sum(data["reasons"].get(reason, 0) for reason in LEAKS)
    yield Link(
        "No test row is learned",
        "Rows that ask what a test or validation row asks, word for word or nearly, were looked for in what is "
        f"learned; {f'{left_out:,}' if left_out else 'none'} {'were' if left_out > 1 else 'was'} found"
        f"{' and left out' if left_out else ''}.",
        "holds", [], [],
    )  # fmt: skip


def training_links(train: dict[str, Any]) -> Iterator[Link]:
    audit = train.get("audit", {}).get("train")
    if audit:
        yield Link(
            "Rows = what is learned",
            f"Before the first step every one of {audit['rows']:,} rows was compared with the tokens made of it: "
            f"{audit['learned']:.0%} of these are learned, the words of replies and their ends, and no others.",
            "holds", [], [],
        )  # fmt: skip


def merge_links(merge: dict[str, Any], settings: dict[str, Any]) -> Iterator[Link]:
    limit = settings.get("merge", {}).get("relative_logits")
    if not merge or not limit:
        return
    measure = logits_measure(MODES["whole"], merge["whole"], limit, merge["rounding"])
    yield Link(
        "Trained adapter = merged model",
        f"What was learned is added into the weights of the base. On {merge['prompts']:,} held-out prompts the result "
        "says what base and adapter say together.",
        "holds" if measure.share <= 1 else "fails", [measure], [],
    )  # fmt: skip


def variant_links(parity: dict[str, Any], settings: dict[str, Any]) -> Iterator[Link]:
    variants = {name: facts for name, facts in parity.items() if isinstance(facts, dict) and name != "merged"}
    for name, facts in variants.items():
        thresholds = settings.get("export", {}).get("variants", {}).get(name, {}).get("thresholds", {})
        bits = facts.get("weights", {}).get("bits")
        stored = f" Its weights are stored in {bits} bits." if bits else ""
        outcomes = [(*OUTCOMES[key], sentence) for key in OUTCOMES for sentence in facts.get(key, [])]
        reasons = [f"{words}: {sentence.removeprefix(f'{name}: ')}." for _, words, sentence in outcomes]
        verdict = outcomes[0][0] if outcomes else "holds"
        yield Link(
            f"Merged model = {name}",
            f"The exported files, run without PyTorch, beside the merged model on {facts.get('prompts', 0):,} held-out "
            f"prompts and edge cases, over {facts.get('tokens', 0):,} tokens of replies.{stored}",
            verdict, list(variant_measures(facts, thresholds)), reasons,
        )  # fmt: skip


def variant_measures(facts: dict[str, Any], thresholds: dict[str, Any]) -> Iterator[Measure]:
    """Those that have a threshold, as the gate reads them."""
    limit, rounding = thresholds.get("relative_logits"), facts.get("rounding", 0.0)
    slack = 1.0
    if limit:
        slack = divergence.rounding_slack(limit, rounding)
        yield from (
            logits_measure(words, facts[mode], limit, rounding) for mode, words in MODES.items() if mode in facts
        )
    if thresholds.get("kl"):
        most = thresholds["kl"] * slack**2
        yield Measure("divergence of probabilities of the next token (KL, nats)", f"{facts['kl']:.2g}",
                      f"≤ {most:.2g}", facts["kl"] / most, format_interval(facts, "kl", "{:.2g}"))  # fmt: skip
    for kind, words in (("top1", "same likeliest token"), ("greedy", "same text, token by token")):
        if thresholds.get(kind):
            yield share_measure(words, facts, kind, thresholds[kind])
    if (allowed := thresholds.get("rouge")) is not None:
        yield Measure("ROUGE-L lost, in points of 100", f"{max(facts['lost'], 0):.2f}", f"≤ {allowed:g}",
                      use_share(facts["lost"], allowed), format_interval(facts, "lost", "{:.2f}"))  # fmt: skip


def logits_measure(words: str, value: float, limit: float, rounding: float) -> Measure:
    most = limit * divergence.rounding_slack(limit, rounding)
    return Measure(words, f"{value:.2g}", f"≤ {most:.2g}", value / most)


def share_measure(words: str, facts: dict[str, Any], kind: str, least: float) -> Measure:
    share = use_share(1 - facts[kind], 1 - least)
    return Measure(words, f"{facts[kind]:.1%}", f"≥ {least:.1%}", share, format_interval(facts, kind, "{:.1%}"))


def use_share(value: float, allowed: float) -> float:
    """How much of what is allowed was used; where nothing is, any use is too much."""
    if value <= 0:
        return 0.0
    return value / allowed if allowed > 0 else 2.0


def format_interval(facts: dict[str, Any], kind: str, form: str) -> str:
    bounds = facts.get("intervals", {}).get(kind)
    return " to ".join(form.format(bound) for bound in bounds) if bounds else ""


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
    """A bar whose end is what is allowed; beyond it, red."""
    words = f"{share:.0%}" if share <= 1 else "over"
    filled = svg.rect(0, 4, GAUGE * min(share, 1), 4, "filled" if share <= 1 else "filled strong")
    parts = [svg.line(0, 6, GAUGE, 6, "grid"), filled, svg.line(GAUGE, 1, GAUGE, 11, "node")]
    return svg.picture(GAUGE + 2, 12, f"{words} of what is allowed", *parts) + tag("span", words, aria_hidden="true")
