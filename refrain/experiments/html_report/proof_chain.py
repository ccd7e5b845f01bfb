"""The chain of proof from raw rows to the files that are shipped, each link with its measures and what is allowed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from refrain.evaluation import divergence
from refrain.experiments.html_report.run_reports import RunReports
from refrain.pipeline.plurals import format_count

Verdict = Literal["holds", "holds, not for certain", "missed, within chance", "left out", "fails"]
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
SHARES = {
    "top1": "same likeliest token",
    "greedy": "same text, token by token",
    "texts": "texts of which it makes the same ids",
}


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
    gguf = gguf_links(reports.gguf, reports.settings)
    return [*data_links(reports.data), *training_links(reports.train), *merge, *parity, *gguf]


def data_links(data: dict[str, Any]) -> Iterator[Link]:
    if not data:
        return
    placed = sum(data[place] for place in ("train", "val", "test", "duplicates", "quarantined", "set_aside"))
    yield Link(
        "Raw rows = prepared rows",
        f"Read: {format_count(data['rows'], 'row')}; accounted for: {placed:,}, each in exactly one place.",
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
            f"Before the first step each row, {audit['rows']:,} in all, was compared with the tokens made of it: "
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
        f"What was learned is added into the weights of the base. On "
        f"{format_count(merge['prompts'], 'held-out prompt')} the result says what base and adapter say together.",
        "holds" if measure.share <= 1 else "fails", [measure], [],
    )  # fmt: skip


def variant_links(parity: dict[str, Any], settings: dict[str, Any]) -> Iterator[Link]:
    """A link for each variant in ONNX."""
    variants = {name: facts for name, facts in parity.items() if isinstance(facts, dict) and name != "merged"}
    for name, facts in variants.items():
        thresholds = settings.get("export", {}).get("variants", {}).get(name, {}).get("thresholds", {})
        bits = facts.get("weights", {}).get("bits")
        words = (f"The exported files, run without PyTorch, beside the merged model on {facts.get('prompts', 0):,} "
                 f"held-out prompts and edge cases, over {format_count(facts.get('tokens', 0), 'token')} of replies."
                 f"{f' Its weights are stored in {bits} bits.' if bits else ''}")  # fmt: skip
        yield judge_file(name, words, facts, thresholds)


def gguf_links(gguf: dict[str, Any], settings: dict[str, Any]) -> Iterator[Link]:
    """A link for each file that llama.cpp opens."""
    for name, facts in gguf.get("types", {}).items():
        thresholds = settings.get("gguf", {}).get("thresholds", {}).get(name, {})
        words = (f"The file {facts['file']}, run by llama.cpp, beside the merged model after {gguf['prompts']:,} "
                 f"held-out prompts, and the ids that it makes of {format_count(gguf['texts'], 'text')}.")  # fmt: skip
        yield judge_file(name, words, facts, thresholds)


def judge_file(name: str, words: str, facts: dict[str, Any], thresholds: dict[str, Any]) -> Link:
    """What the gate has said of a variant or file, and what it was said of."""
    worst = next((key for key in OUTCOMES if facts.get(key)), "")
    verdict, meaning = OUTCOMES.get(worst, ("holds", ""))
    reasons = [f"{meaning}: {sentence.removeprefix(f'{name}: ')}." for sentence in facts.get(worst, [])]
    return Link(f"Merged model = {name}", words, verdict, list(list_measures(facts, thresholds)), reasons)


def list_measures(facts: dict[str, Any], thresholds: dict[str, Any]) -> Iterator[Measure]:
    """Those that have a threshold and were measured, as the gate reads them."""
    limit, slack = thresholds.get("relative_logits"), 1.0
    if limit:
        rounding = facts.get("rounding", 0.0)
        slack = divergence.rounding_slack(limit, rounding)
        for mode in filter(facts.__contains__, MODES):
            yield logits_measure(MODES[mode], facts[mode], facts.get("limit") or limit, rounding)
    if thresholds.get("kl") and "kl" in facts:
        most = thresholds["kl"] * slack**2
        yield Measure("divergence of the next token (KL, nats)", f"{facts['kl']:.2g}",
                      f"≤ {most:.2g}", facts["kl"] / most, format_interval(facts, "kl", "{:.2g}"))  # fmt: skip
    for kind, words in SHARES.items():
        if thresholds.get(kind) and kind in facts:
            yield share_measure(words, facts, kind, thresholds[kind])
    if (allowed := thresholds.get("rouge")) is not None and "lost" in facts:
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
