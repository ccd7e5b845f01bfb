"""Variants, each written and proven, in its own settings or the first of its fallbacks that reaches its thresholds."""

import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic

from refrain.evaluation import gate
from refrain.evaluation.parity import ParityResult
from refrain.export.onnx import exporter
from refrain.pipeline import manifest
from refrain.pipeline.schema import ExportConfig, QuantizationConfig, Thresholds, VariantConfig

log = logging.getLogger(__name__)

Write = Callable[[QuantizationConfig], None]
Measure = Callable[[Path], ParityResult]  # of the model in a folder, against the merged one


@dataclass(frozen=True)
class Attempt:
    """A variant in some settings, and why it is not good enough in them."""

    weights: QuantizationConfig
    result: ParityResult | None  # None: it could not be written or opened
    fails: list[str]


def export_proven_variants(
    merged: Path, artifact: Path, export: ExportConfig, measure: Measure
) -> dict[str, list[Attempt]]:
    """All attempts at each variant, the last of which is in its folder; none after a required variant that fails."""
    kind = exporter.choose_graph(merged, export.graph)
    attempts: dict[str, list[Attempt]] = {}
    for name in exporter.order_variants(export.variants):
        variant = export.variants[name]
        write = partial(exporter.export_variant, merged, artifact / name, kind=kind, opset=export.opset)
        attempts[name] = list(attempt_variant(artifact / name, variant, write, measure))
        if attempts[name][-1].fails and variant.thresholds.required:
            break
    return attempts


def attempt_variant(out: Path, variant: VariantConfig, write: Write, measure: Measure) -> Iterator[Attempt]:
    """The variant in its settings and, as long as it fails, in each of its fallbacks that makes another file."""
    attempts: dict[str, Attempt] = {}  # by the checksum of what was written
    for weights in [variant.weights, *variant.fallbacks]:
        shutil.rmtree(out, ignore_errors=True)
        try:
            write(weights)
            checksum = manifest.content_hash(out)
            attempt = attempts.get(checksum) or judge(out, weights, variant.thresholds, measure)
            attempts[checksum] = attempt
        except ValueError as error:  # of its own: what quantises nothing, or does not open
            if variant.thresholds.required:
                raise
            attempt = Attempt(weights, None, [f"{out.name}: {error}"])
        yield attempt
        if not attempt.fails:
            return
        log.info("%s: with %s it fails: %s", out.name, describe(weights), "; ".join(attempt.fails))


def judge(out: Path, weights: QuantizationConfig, thresholds: Thresholds, measure: Measure) -> Attempt:
    """The variant in a folder, measured."""
    start = monotonic()
    result = measure(out)
    log.info("%s: compared with the merged model in %.1f s", out.name, monotonic() - start)
    return Attempt(weights, result, gate.failed_thresholds(out.name, thresholds, result))


def describe(weights: QuantizationConfig) -> str:
    """Settings in words."""
    if weights.bits in (16, 32) or weights.block is None:
        return f"{weights.bits} bits"
    head = weights.head_bits or weights.bits
    zeros = "symmetric" if weights.symmetric else "with zero points"
    return f"{weights.bits} bits, head {head}, blocks of {weights.block}, {zeros}, rounding {weights.rounding}"
