"""Thresholds of a variant, and measures that just reach each of them."""

from refrain.evaluation.parity import ParityResult
from refrain.pipeline.export_schema import Thresholds

BARS = Thresholds(relative_logits=0.1, kl=0.02, top1=0.95, greedy=0.8, rouge=0.5)
JUST = ParityResult(
    whole=0.1,
    cached=0.1,
    batched=0.1,
    chunked=0.1,
    rounding=0.01,
    mean=9,
    kl=0.02,
    top1=0.95,
    greedy=0.8,
    rouge=0,
    lost=0.5,
    perplexity=9,
)
