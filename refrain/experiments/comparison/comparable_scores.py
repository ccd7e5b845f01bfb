"""The scores by which the predictions of two models can be compared, row by row."""

from collections.abc import Sequence

from refrain.evaluation.row_statistics import TEXT_METRICS, RowStatistics, perplexity_statistics, text_statistics
from refrain.evaluation.scoring import Prediction

PERPLEXITY = "perplexity"
METRICS = (*TEXT_METRICS, PERPLEXITY)


def read_statistics(metric: str, rows: Sequence[Prediction]) -> RowStatistics:
    """Of the predictions of one model."""
    if metric == PERPLEXITY:
        return perplexity_statistics([(row["loss"], row["tokens"]) for row in rows])
    return text_statistics(metric, [row["prediction"] for row in rows], [row["reference"] for row in rows])


def check_pairs(metric: str, a: Sequence[Prediction], b: Sequence[Prediction]) -> None:
    """ValueError where the rows are not the same, or have no such score in common."""
    require_known(metric)
    if len(a) != len(b):
        raise ValueError(f"{metric}: {len(a)} and {len(b)} rows are no pairs; compare the rows that both have")
    for first, second in zip(a, b, strict=True):
        if (first["id"], first["reference"]) != (second["id"], second["reference"]):
            other = second["reference"] if first["id"] == second["id"] else second["id"]
            raise ValueError(f"{first['id']}: the other has {other!r} in its place; compare the same rows")
    if metric == PERPLEXITY:
        check_losses(a, b)


def require_known(metric: str) -> None:
    """ValueError for a score that there is none of."""
    if metric not in METRICS:
        raise ValueError(f"{metric}: there is no such score to compare; choose from {', '.join(METRICS)}")


def check_losses(a: Sequence[Prediction], b: Sequence[Prediction]) -> None:
    """ValueError where a row has no loss, or one of other tokens."""
    for first, second in zip(a, b, strict=True):
        if "loss" not in first or "loss" not in second:
            raise ValueError(f"{PERPLEXITY}: row {first['id']} has no loss in its prediction; run evaluate again, or "
                             "compare other scores")  # fmt: skip
        if first["tokens"] != second["tokens"]:
            raise ValueError(f"{PERPLEXITY}: row {first['id']} is {first['tokens']} tokens to one model and "
                             f"{second['tokens']} to the other; compare other scores")  # fmt: skip
