"""Variants, each written and proven, in its own settings or the first of its fallbacks that reaches its thresholds."""

import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import monotonic

from refrain.evaluation import gate, verdict
from refrain.evaluation.divergence import DivergenceStats
from refrain.evaluation.parity import ParityPrompts, ParityResult
from refrain.exporters.onnx import exporter, kv_scales, sensitivity, smoothing
from refrain.exporters.onnx.builder import Calibration
from refrain.pipeline import manifest
from refrain.pipeline.export_schema import ExportConfig, QuantizationConfig, Thresholds, VariantConfig
from refrain.runtime import onnx_folder

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
    fails: list[str]  # thresholds that it misses, by more than chance explains
    missed: list[str] = field(default_factory=list)  # ... within what chance explains
    lucky: list[str] = field(default_factory=list)  # thresholds that it reaches, within what chance explains

    @property
    def is_good(self) -> bool:
        return not self.fails and not self.missed


def export_proven_variants(
    merged: Path,
    artifact: Path,
    export: ExportConfig,
    prompts: ParityPrompts,
    measure: Measure,
    prepared: Path,
) -> dict[str, list[Attempt]]:
    """All attempts at each variant, the last of which is in its folder; none after a required variant that fails.

    How sensitive layers are is measured on the first prompts and replies, the scales of a cache and the
    sizes of activations on training rows.
    """
    kind = exporter.choose_graph(merged, export.graph)
    sequences = [[*reply.prompt, *reply.tokens][:MAX_TOKENS] for reply in prompts.replies[:MAX_SEQUENCES]]
    ranking = sensitivity.LayerRanking(artifact / "fp32", sequences)
    cache_scales = kv_scales.CacheScales(artifact / "fp32", prompts.tokenizer, prepared)
    activation_sizes = smoothing.ActivationSizes(artifact / "fp32", prompts.tokenizer, prepared)
    attempts: dict[str, list[Attempt]] = {}
    for name in exporter.order_variants(export.variants):
        variant, out = export.variants[name], artifact / name

        def write(weights: QuantizationConfig, out: Path = out) -> None:
            calibration = Calibration(
                ranking.sensitive_layers(weights),
                cache_scales.scales_for(weights.kv_bits),
                activation_sizes.sizes_for(weights.activations),
            )
            exporter.export_variant(merged, out, weights, kind, export.opset, calibration)

        attempts[name] = keep_one(list(attempt_variant(out, variant, write, measure, prompts.positions)), write)
        describe_chance(name, attempts[name][-1])
        if attempts[name][-1].fails and variant.thresholds.required:
            break
    return attempts


def attempt_variant(
    out: Path, variant: VariantConfig, write: Write, measure: Measure, positions: int
) -> Iterator[Attempt]:
    """The variant in its settings and, while it misses a threshold, in each fallback; equal files are measured once.

    What is there already is the variant in its own settings.
    """
    measured: dict[str, Attempt] = {}  # by the checksum of what was written
    is_written = onnx_folder.has_model(out)
    for weights in list_settings(variant):
        try:
            if not is_written:
                shutil.rmtree(out, ignore_errors=True)
                write(weights)
            is_written = False
            checksum = manifest.content_hash(out)
            attempt = measured.get(checksum) or judge(out, weights, variant.thresholds, measure, positions)
            measured[checksum] = attempt
        except ValueError as error:  # what quantises nothing or does not open
            if variant.thresholds.required:
                raise
            attempt = Attempt(weights, None, [f"{out.name}: {error}"])
        yield attempt
        if attempt.is_good:
            return
        log.info("%s: in %s it misses: %s", out.name, describe(weights), "; ".join(attempt.fails + attempt.missed))


def list_settings(variant: VariantConfig) -> Iterator[QuantizationConfig]:
    """What is tried in turn: a cache in 8 bits that costs too much gives way to one in fp32 before the weights do."""
    for weights in [variant.weights, *variant.fallbacks]:
        yield weights
        if weights.kv_bits == 8:
            yield replace(weights, kv_bits=32)


def keep_one(attempts: list[Attempt], write: Write) -> list[Attempt]:
    """The attempts with the one to keep at the end, and written: where none is good, the first that chance excuses."""
    last = attempts[-1]
    kept = last if last.is_good else next((attempt for attempt in attempts if not attempt.fails), last)
    if kept is last:
        return attempts
    write(kept.weights)
    return [*(attempt for attempt in attempts if attempt is not kept), kept]


def describe_chance(name: str, attempt: Attempt) -> None:
    """Say of a variant that stays what its prompts were too few to tell."""
    more = "more held-out rows would tell (data.test_fraction, export.prompts)"
    if attempt.missed and not attempt.fails:
        log.warning("%s stays, though not as the best, for chance explains what it misses: %s; %s",
                    name, "; ".join(attempt.missed), more)  # fmt: skip
    if attempt.lucky and not attempt.fails:
        log.warning("%s reaches all thresholds, though other prompts might say otherwise: %s; %s",
                    name, "; ".join(attempt.lucky), more)  # fmt: skip


def judge(out: Path, weights: QuantizationConfig, thresholds: Thresholds, measure: Measure, positions: int) -> Attempt:
    """The variant in a folder, measured: to the end where it is required, else as long as it can still pass."""
    start, name = monotonic(), out.name
    give_up = None if thresholds.required else partial(gate.require_within_reach, name, thresholds, positions)
    try:
        result = measure(out, give_up)
        found = verdict.judge_variant(name, thresholds, result)
        attempt = Attempt(weights, result, found.fails, found.missed, found.lucky)
    except ValueError as error:
        if thresholds.required:
            raise
        attempt = Attempt(weights, None, [f"{name}: {error}"])
    drawn = f"{positions} tokens" if attempt.result is None else f"{attempt.result.prompts} prompts, {positions} tokens"
    log.info("%s: compared with the merged model on %s in %.1f s", name, drawn, monotonic() - start)
    return attempt


def describe(weights: QuantizationConfig) -> str:
    """Settings in words."""
    cache = ", KV cache 8" if weights.kv_bits == 8 else ""
    if weights.bits in (16, 32) or (weights.block is None and weights.activations is None):
        return f"{weights.bits} bits{cache}"
    head = weights.head_bits or weights.bits
    share = f", {weights.sensitive_share:.0%} of layers {weights.sensitive_bits}" if weights.sensitive_share else ""
    zeros = "symmetric" if weights.symmetric else "with zero points"
    scales = f"blocks of {weights.block}, {zeros}"
    if weights.activations is not None:
        rest = "" if weights.block is None else f", down and head in {scales}"
        scales = f"activations in 8 bits by token{rest}"
    return f"{weights.bits} bits{share}, head {head}, {scales}, rounding {weights.rounding}{cache}"
