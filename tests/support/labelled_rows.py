"""Rows of random tokens with labels, as an objective gets them."""

import numpy as np

from refrain.chat.encoding import IGNORE_INDEX

LENGTHS = (9, 9, 3, 14, 9, 2)  # longer and shorter than the windows, and alike next to each other


def random_rows(lengths=LENGTHS, seed=0):
    """Rows of random tokens, about half of them labelled, here and there, always the last."""
    rng = np.random.default_rng(seed)
    rows = []
    for length in lengths:
        ids = rng.integers(97, size=length).tolist()
        hidden = rng.integers(2, size=length - 1).astype(bool).tolist()
        labels = [IGNORE_INDEX if hide else token for hide, token in zip([*hidden, False], ids, strict=True)]
        rows.append({"input_ids": ids, "labels": labels})
    return rows
