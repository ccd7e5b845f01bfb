"""The scores in reports/metrics.json with their intervals, for all who show or compare them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

INTERVALS = "intervals"  # of a model's scores, beside them: {score: [low, high]}
ROWS = "rows"
EXPORTED = "onnx-"  # begins the name of a variant of models/onnx, beside base and merged


class Score(NamedTuple):
    value: float
    low: float | None  # of its 95 % interval; None where a report has none
    high: float | None


def model_name(variant: str) -> str:
    """What a variant of models/onnx is called among all models that were scored: onnx-int8."""
    return f"{EXPORTED}{variant}"


def variant_name(model: str) -> str:
    """The variant of models/onnx that a model is, or its own name: int8, base, merged."""
    return model.removeprefix(EXPORTED)


def read_scores(result: Mapping[str, Any]) -> dict[str, Score]:
    """Of one model in reports/metrics.json, also of a commit that had no intervals; `rows` is no score."""
    intervals = result.get(INTERVALS, {})
    return {
        name: Score(value, *intervals.get(name, (None, None)))
        for name, value in result.items()
        if name not in (INTERVALS, ROWS)
    }
