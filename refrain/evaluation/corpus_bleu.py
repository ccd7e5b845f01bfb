"""BLEU as sacrebleu computes it, from counts that add up over rows: so that rows can be drawn and swapped."""

from collections.abc import Sequence

import numpy as np
from sacrebleu.metrics.bleu import BLEU

from refrain.evaluation.segmentation import space_out

ORDER = 4  # the longest n-gram
Numbers = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def count_ngrams(predictions: Sequence[str], references: Sequence[str]) -> Numbers:
    """Of each row: words predicted, words expected, then n-grams of each order that are right, and that are there."""
    scorer = BLEU(effective_order=True)  # the counts are the same, and it is silent about single sentences
    counts = []
    for prediction, reference in zip(predictions, references, strict=True):
        row = scorer.sentence_score(space_out(prediction), [space_out(reference)])
        counts.append([row.sys_len, row.ref_len, *row.counts, *row.totals])
    return np.array(counts, dtype=np.float64).reshape(len(counts), 2 + 2 * ORDER)


def score_counts(counts: Numbers) -> Numbers:
    """From 0 to 100, of counts that are summed over rows: the last axis as above, any others before it.

    An order without a right n-gram counts half of one, the next a quarter (smoothing `exp`, as sacrebleu's default).
    """
    predicted, expected = counts[..., 0], counts[..., 1]
    right, there = counts[..., 2 : 2 + ORDER], counts[..., 2 + ORDER :]
    missed = np.cumsum(right == 0, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precisions = np.where(right == 0, 0.5**missed, right) / there
        brevity = np.minimum(0.0, 1 - expected / predicted)
        scores = 100 * np.exp(np.log(precisions).mean(axis=-1) + brevity)
    is_defined = (right > 0).any(axis=-1) & (there > 0).all(axis=-1)
    return np.where(is_defined, scores, 0.0)
