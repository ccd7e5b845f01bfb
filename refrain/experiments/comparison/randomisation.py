"""Whether it matters which model a row's answer is of: swap at random, and see how often that differs as much.

Approximate randomisation (Noreen 1989; Riezler and Maxwell 2005), as sacrebleu's paired test `ar`; of a mean it is the
permutation test of signs. Ties count (Phipson and Smyth 2010): sacrebleu leaves them out, and finds identical models
different.
"""

from collections.abc import Iterator

import numpy as np

from refrain.evaluation.corpus_bleu import Numbers
from refrain.evaluation.row_statistics import RowStatistics

TRIALS = 9999
EXACT = 13  # rows that differ, up to which all 2 ** 13 swaps are fewer than TRIALS
SWAPS = 4_000_000  # rows at once, for memory
TOLERANCE = 1e-9  # of a score of any size: differences that are closer are equal


def swap_test(a: RowStatistics, b: RowStatistics, seed: int = 0) -> tuple[float, str]:
    """The two-sided p-value, and the name of the test."""
    differs = (a.rows != b.rows).any(axis=1)
    gain = (b.rows - a.rows)[differs]
    sums = a.rows.sum(axis=0), b.rows.sum(axis=0)
    seen = abs(float(b.score(sums[1]) - a.score(sums[0])))
    is_exact = len(gain) <= EXACT
    reached = count = 0
    for swaps in all_swaps(len(gain)) if is_exact else drawn_swaps(len(gain), seed):
        moved = swaps @ gain
        differences = np.abs(b.score(sums[1] - moved) - a.score(sums[0] + moved))
        reached += int((differences >= seen - TOLERANCE).sum())
        count += len(swaps)
    if is_exact:
        return reached / count, "permutation, exact"
    return (reached + 1) / (count + 1), "approximate randomisation"


def all_swaps(rows: int) -> Iterator[Numbers]:
    """Each choice of rows."""
    yield ((np.arange(2**rows)[:, None] >> np.arange(rows)) & 1).astype(np.float64)


def drawn_swaps(rows: int, seed: int) -> Iterator[Numbers]:
    """TRIALS choices of rows, each row by the toss of a coin."""
    rng = np.random.Generator(np.random.PCG64(seed))
    step = max(1, SWAPS // rows)
    for start in range(0, TRIALS, step):
        yield rng.integers(2, size=(min(step, TRIALS - start), rows)).astype(np.float64)
