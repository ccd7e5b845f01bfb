"""What measures say of thresholds: reached, missed, or within what chance explains."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from refrain.evaluation import divergence
from refrain.evaluation.intervals import Interval
from refrain.evaluation.parity import ParityResult
from refrain.pipeline.export_schema import Thresholds


@dataclass(frozen=True)
class Verdict:
    """What a variant's measures say of its thresholds, a sentence each."""

    fails: list[str]  # missed by more than chance explains
    missed: list[str]  # missed, but another draw of as many prompts may well reach it
    lucky: list[str]  # reached, but another draw of as many prompts may well miss it


def judge_variant(name: str, thresholds: Thresholds, parity: ParityResult) -> Verdict:
    """Every threshold against its measure; nan reaches none."""
    key = f"export.variants.{name}.thresholds"
    measures = list(read_measures(key, thresholds, parity))
    certain = [measure.sentence for measure in measures if measure.is_certain and not measure.is_reached]
    uncertain = [measure for measure in measures if not measure.is_certain]
    return Verdict(
        [f"{name}: {sentence}" for sentence in [*far_logits(key, thresholds, parity), *certain]],
        [f"{name}: {measure.sentence}" for measure in uncertain if not measure.is_reached],
        [f"{name}: {measure.sentence}" for measure in uncertain if measure.is_reached],
    )


def far_logits(key: str, thresholds: Thresholds, parity: ParityResult) -> Iterator[str]:
    """A sentence for each execution mode in which some logit is too far off: chance does not excuse the largest."""
    limit = inf if thresholds.relative_logits is None else thresholds.relative_logits
    slack = logits_slack(thresholds, parity)
    for mode in ("whole", "cached", "batched", "chunked"):
        if not ((value := getattr(parity, mode)) <= limit * slack and value < inf):
            allowed = "any finite one" if limit == inf else divergence.describe_limit(limit, slack)
            yield (f"its {mode} logits differ from the merged model's by {value:.2g} standard deviations, "
                   f"{key}.relative_logits allows {allowed}")  # fmt: skip


def logits_slack(thresholds: Thresholds, parity: ParityResult) -> float:
    """The factor by which a limit of logits gives way for this model."""
    limit = thresholds.relative_logits
    return 1.0 if limit is None else divergence.rounding_slack(limit, parity.rounding)


@dataclass(frozen=True)
class Measure:
    """A share of tokens, or a loss over prompts: drawn, and so known up to an interval."""

    sentence: str
    value: float
    threshold: float
    interval: Interval  # 95 %
    is_share: bool  # else a loss, of which less is better

    @property
    def is_reached(self) -> bool:
        return self.value >= self.threshold if self.is_share else self.value <= self.threshold

    @property
    def is_certain(self) -> bool:
        """Whether all of the interval says the same; a threshold that allows nothing is taken at its word."""
        low, high = self.interval
        if self.is_share:
            return self.threshold == 1 or not low < self.threshold <= high
        return self.threshold == 0 or not low <= self.threshold < high


def read_measures(key: str, thresholds: Thresholds, parity: ParityResult) -> Iterator[Measure]:
    """The measures that have a threshold, in words."""
    tokens, prompts = f"{parity.tokens} tokens after {parity.prompts} prompts", f"{parity.prompts} prompts"
    for kind, drawn in (("top1", tokens), ("greedy", prompts)):
        share, least = getattr(parity, kind), getattr(thresholds, kind)
        interval, bounds = read_interval(parity, kind, share, "{:.1%} to {:.1%}", drawn)
        sentence = f"{share:.1%} of its {kind} tokens are the merged model's, {key}.{kind} wants {least:.1%}{bounds}"
        yield Measure(sentence, share, least, interval, is_share=True)
    if (limit := thresholds.kl) is not None:
        slack = logits_slack(thresholds, parity) ** 2  # it grows with the square of logits
        interval, bounds = read_interval(parity, "kl", parity.kl, "{:.2g} to {:.2g}", tokens)
        sentence = (f"its next tokens diverge from the merged model's by {parity.kl:.2g} nats, "
                    f"{key}.kl allows {divergence.describe_limit(limit, slack)}{bounds}")  # fmt: skip
        yield Measure(sentence, parity.kl, limit * slack, interval, is_share=False)
    if (limit := thresholds.rouge) is not None:
        interval, bounds = read_interval(parity, "lost", parity.lost, "{:.2f} to {:.2f}", prompts)
        sentence = (f"its ROUGE-L is {describe_loss(parity.lost)} the merged model's, "
                    f"{key}.rouge allows {limit:g}{bounds}")  # fmt: skip
        yield Measure(sentence, parity.lost, limit, interval, is_share=False)


def read_interval(parity: ParityResult, kind: str, value: float, form: str, drawn: str) -> tuple[Interval, str]:
    """The interval of a measure, and that in words; one prompt alone says nothing of the next."""
    interval = parity.intervals.get(kind, (value, value))
    if interval is None:
        return (-inf, inf), f" (of {drawn}, which give no interval)"
    bounds = f" (95 % interval {form.format(*interval)}, of {drawn})" if kind in parity.intervals else ""
    return interval, bounds


def describe_loss(points: float) -> str:
    """How far a score is from that of the reference, in points: a gain is no loss below nothing."""
    return f"{-points:.2f} points above" if points < 0 else f"{points:.2f} points below"
