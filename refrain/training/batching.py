"""Which rows make an optimiser step, and which of those share a forward pass: arithmetic on lengths, no tensors.

A step is chosen by seed and epoch alone, so it holds the same rows for any size of a forward pass and any number of
processes.
"""

from collections.abc import Iterator
from math import ceil

import numpy as np

Step = list[int]


class StepSampler:
    """The steps of an epoch, as indices of rows: each row once, in an order of the seed and of the epoch.

    The longest row comes first of all: what does not fit into memory shows in the first step.
    """

    def __init__(self, lengths: list[int], batch_size: int, seed: int) -> None:
        self.lengths, self.size, self.seed, self.epoch = lengths, batch_size, seed, 0

    def __len__(self) -> int:
        return ceil(len(self.lengths) / self.size)

    def __iter__(self) -> Iterator[Step]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.lengths)).tolist()
        if self.epoch == 0:
            longest = order.index(int(np.argmax(self.lengths)))
            order[0], order[longest] = order[longest], order[0]
        yield from (order[start : start + self.size] for start in range(0, len(order), self.size))


def split_forward_passes(lengths: list[int], tokens: int, packed: bool) -> list[list[int]]:
    """Rows of a step in forward passes of at most so many tokens, padding counted; a longer row goes alone.

    Rows of like length share a pass, the longest first, so that little is padded.
    """
    result: list[list[int]] = []
    tokens_in_pass = 0
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        cost = lengths[row] if packed or not result else lengths[result[-1][0]]
        if not result or tokens_in_pass + cost > tokens:
            result.append([])
            tokens_in_pass, cost = 0, lengths[row]
        result[-1].append(row)
        tokens_in_pass += cost
    return result


def process_share(lengths: list[int], process: int, processes: int) -> list[int]:
    """The rows of a step that a process takes: dealt out by length, back and forth, so that loads are alike."""
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    turns = [*range(processes), *reversed(range(processes))]
    return [row for turn, row in enumerate(order) if turns[turn % len(turns)] == process]
