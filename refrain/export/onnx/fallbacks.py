"""Variants, each written and proven, in its own settings or the first of its fallbacks that reaches its thresholds."""

import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from time import monotonic

from refrain.evaluation import gate
from refrain.evaluation.divergence import DivergenceStats
from refrain.evaluation.parity import ParityPrompts, ParityResult
from refrain.export.onnx import exporter, sensitivity
from refrain.pipeline import manifest
from refrain.pipeline.schema import ExportConfig, QuantizationConfig, Thresholds, VariantConfig

MAX_SEQUENCES, MAX_TOKENS = 8, 64  # on which layers are compared: each of them is a run of the whole model

log = logging.getLogger(__name__)

Write = Callable[[QuantizationConfig], None]
GiveUp = Callable[[DivergenceStats], None]  # raises once a variant cannot pass any more
Measure = Callable[[Path, GiveUp | None], ParityResult]  # of the model in a folder, against the merged one


@dataclass(frozen=True)
class Attempt:
    """A variant in some settings, and why it is not good enough in them."""

    weights: QuantizationConfig
    result: ParityResult | None  # None: it could not be written or opened, or was given up
    fails: list[str]


def export_proven_variants(
    merged: Path, artifact: Path, export: ExportConfig, prompts: ParityPrompts, measure: Measure
) -> dict[str, list[Attempt]]:
    """All attempts at each variant, the last of which is in its folder; none after a required variant that fails.

    How sensitive layers are is measured on the first prompts and replies.
    """
    kind = exporter.choose_graph(merged, export.graph)
    pairs = zip(prompts.prompt_ids, prompts.replies, strict=True)
    sequences = [[*prompt, *reply][:MAX_TOKENS] for prompt, reply in islice(pairs, MAX_SEQUENCES)]
    ranking = sensitivity.LayerRanking(artifact / "fp32", sequences)
    attempts: dict[str, list[Attempt]] = {}
    for name in exporter.order_variants(export.variants):
        variant, out = export.variants[name], artifact / name

        def write(weights: QuantizationConfig, out: Path = out) -> None:
            layers = ranking.sensitive_layers(weights)
            exporter.export_variant(merged, out, weights, kind, export.opset, layers)

        attempts[name] = list(attempt_variant(out, variant, write, measure, prompts.positions))
        if attempts[name][-1].fails and variant.thresholds.required:
            break
    return attempts


def attempt_variant(
    out: Path, variant: VariantConfig, write: Write, measure: Measure, positions: int
) -> Iterator[Attempt]:
    """The variant in its settings and, as long as it fails, in each of its fallbacks; equal files are measured once."""
    measured: dict[str, Attempt] = {}  # by the checksum of what was written
    for weights in [variant.weights, *variant.fallbacks]:
        shutil.rmtree(out, ignore_errors=True)
        try:
            write(weights)
            checksum = manifest.content_hash(out)
            attempt = measured.get(checksum) or judge(out, weights, variant.thresholds, measure, positions)
            measured[checksum] = attempt
        except ValueError as error:  # what quantises nothing or does not open
            if variant.thresholds.required:
                raise
            attempt = Attempt(weights, None, [f"{out.name}: {error}"])
        yield attempt
        if not attempt.fails:
            return
        log.info("%s: in %s it fails: %s", out.name, describe(weights), "; ".join(attempt.fails))


def judge(out: Path, weights: QuantizationConfig, thresholds: Thresholds, measure: Measure, positions: int) -> Attempt:
    """The variant in a folder, measured: to the end where it is required, else as long as it can still pass."""
    start, name = monotonic(), out.name
    give_up = None if thresholds.required else partial(gate.require_within_reach, name, thresholds, positions)
    try:
        result = measure(out, give_up)
        attempt = Attempt(weights, result, gate.failed_thresholds(name, thresholds, result))
    except ValueError as error:
        if thresholds.required:
            raise
        attempt = Attempt(weights, None, [f"{name}: {error}"])
    log.info("%s: compared with the merged model in %.1f s", name, monotonic() - start)
    return attempt


def describe(weights: QuantizationConfig) -> str:
    """Settings in words."""
    if weights.bits in (16, 32) or weights.block is None:
        return f"{weights.bits} bits"
    head = weights.head_bits or weights.bits
    share = f", {weights.sensitive_share:.0%} of layers {weights.sensitive_bits}" if weights.sensitive_share else ""
    zeros = "symmetric" if weights.symmetric else "with zero points"
    return f"{weights.bits} bits{share}, head {head}, blocks of {weights.block}, {zeros}, rounding {weights.rounding}"
