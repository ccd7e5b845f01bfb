"""Different prompts in the order in which they are placed: first those of files with a split, test before val."""

from dataclasses import dataclass

import numpy as np

from refrain.ragged import Array

TRAIN, VAL, TEST, NONE = range(4)
NAMES = ("train", "val", "test")
RANK = np.array([2, 1, 0, 3])  # who comes first, by split: test, val, train, none


@dataclass(frozen=True)
class Prompts:
    """Different prompts in the order in which they are placed."""

    of: Array  # of each row
    row: Array  # the first that has it, of those that decide
    split: Array  # declared, or NONE


def distinct(keys: Array, declared: Array) -> Prompts:
    """A prompt of a file with a split is in that split only; test outranks val, and val outranks train."""
    order = np.argsort(RANK[declared], kind="stable")
    _, first, prompt = np.unique(keys[order], return_index=True, return_inverse=True)
    place = np.argsort(first)  # by rank, then in the order of the rows
    number = np.empty_like(place)
    number[place] = np.arange(len(place))
    of = np.empty_like(order)
    of[order] = number[prompt]
    row = order[first[place]]
    return Prompts(of, row, declared[row])


def kept(prompts: Prompts, rows: Array) -> Prompts:
    """The same prompts, each with the first of these rows that has it."""
    row = prompts.row.copy()
    row[prompts.of[rows[::-1]]] = rows[::-1]
    return Prompts(prompts.of, row, prompts.split)
