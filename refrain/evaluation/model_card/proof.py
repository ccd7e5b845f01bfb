"""The chain of proof in a table: each comparison with its thresholds, what was measured, and how sure that is."""

from collections.abc import Iterator, Mapping
from typing import Any

from refrain.evaluation import divergence
from refrain.evaluation.model_card import markdown
from refrain.evaluation.model_card.facts import CardFacts
from refrain.pipeline.export_schema import Thresholds
from refrain.pipeline.plurals import format_count

HEADER = ("model", "compared with", "measure", "threshold", "measured", "95 % interval")
MODES = {"whole": "whole", "cached": "with KV cache", "batched": "in a batch", "chunked": "prefill in chunks"}
Row = tuple[str, ...]


def proof_section(facts: CardFacts) -> str:
    """Every comparison from the adapter to the variants, on the prompts that reports/parity.json counts."""
    parity = facts.manifest["parity"]
    merged, variants = parity["merged"], facts.variants
    rows = [merged_row(merged)]
    for name, config in variants.items():
        if name in parity:
            rows += variant_rows(name, parity[name], config.thresholds)
    left_out = [name for name in variants if name not in facts.sizes]
    return markdown.section(
        "Proof",
        f"Each step was compared with the one before, on {format_count(parity['prompts'], 'prompt')}: those of "
        f"{format_count(parity['rows'], 'held-out row')} and edge cases, {format_count(parity['tokens'], 'token')} in "
        f"all, greedy for {parity['steps']} at most. "
        "Differences of logits are in standard deviations of the reference's logits at the same position, the largest "
        "of all; `kl` is in nats, `rouge` in points of ROUGE-L lost.",
        markdown.table(HEADER, rows, text_columns=3),
        f"Left out, since it misses a threshold: {', '.join(left_out)}." if left_out else "",
    )


def merged_row(merged: Mapping[str, Any]) -> Row:
    """The merged weights against base and adapter."""
    threshold = at_most(merged["thresholds"]["relative_logits"], merged["rounding"])
    return "merged", merged["reference"], "logits, whole", threshold, markdown.number(merged["whole"]), ""


def variant_rows(name: str, measured: Mapping[str, Any], thresholds: Thresholds) -> Iterator[Row]:
    """A variant against the merged model: a row for each threshold."""
    intervals = measured.get("intervals", {})
    reference = measured["reference"]
    slack = 1.0
    if thresholds.relative_logits is not None:
        slack = divergence.rounding_slack(thresholds.relative_logits, measured.get("rounding", 0)) ** 2
        for mode, words in MODES.items():
            if mode in measured:
                limit = at_most(thresholds.relative_logits, measured["rounding"])
                yield name, reference, f"logits, {words}", limit, markdown.number(measured[mode]), ""
    bars = {
        "kl": ("kl", None if thresholds.kl is None else f"at most {thresholds.kl * slack:.4g}"),
        "top1": ("top1", f"at least {thresholds.top1:.4g}"),
        "greedy": ("greedy", f"at least {thresholds.greedy:.4g}" if thresholds.greedy else None),
        "lost": ("rouge", None if thresholds.rouge is None else f"at most {thresholds.rouge:g}"),
    }
    for key, (words, bar) in bars.items():
        if bar is not None and key in measured:
            bounds = markdown.interval(intervals.get(key))
            yield name, reference, words, bar, markdown.number(measured[key]), bounds


def at_most(limit: float, rounding: float) -> str:
    """A threshold of logits, which gives way to what fp32 rounds in a large model."""
    return f"at most {limit * divergence.rounding_slack(limit, rounding):.4g}"
