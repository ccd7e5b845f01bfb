"""The models that are measured against each other, one in memory at a time."""

from collections.abc import Iterator

from refrain import models as weights
from refrain import paths, runtime, tracking
from refrain.decoding import LanguageModel


def models() -> Iterator[tuple[str, LanguageModel]]:
    """base and merged in PyTorch, then every variant in models/onnx, with their names in reports/metrics.json."""
    yield "base", weights.Speaker(weights.load(paths.BASE))
    yield "merged", weights.Speaker(weights.load(paths.MERGED))
    for name in tracking.variants(paths.ONNX):
        yield f"onnx-{name}", runtime.load(paths.ONNX / name)
