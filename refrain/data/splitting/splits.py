"""One split for every prompt, its near copies and its group: train holds nothing that a held-out row asks.

Rows are placed one after the other: those of test files first, then of val and of train files, then all others in
their order. A row joins the split of what is near to it, so rows that are added at the end move no earlier one.
"""

from dataclasses import dataclass

import numpy as np

from refrain.data.shapes.errors import Reason
from refrain.data.splitting import contamination, leakage
from refrain.data.splitting.leakage import NONE, SPLITS, TEST, TRAIN, VAL, LeakageResolver, UniquePrompts
from refrain.data.splitting.ragged import Array
from refrain.data.splitting.row_store import RowStore
from refrain.pipeline.schema import DataConfig


@dataclass
class Assignment:
    """For each row its split, or NONE with the reason and the row that stays in its place."""

    split: Array
    reason: Array
    owner: Array

    def drop(self, rows: Array, reason: Reason, owners: Array) -> None:
        self.split[rows], self.reason[rows], self.owner[rows] = NONE, reason, owners

    def remaining_rows(self) -> Array:
        """The rows that nothing has dropped."""
        return np.flatnonzero(self.owner < 0)


def assign_splits(spool: RowStore, data: DataConfig) -> Assignment:
    """Where each row goes."""
    declared = np.array([SPLITS.index(s.split) if s.split else NONE for s in data.sources])[spool["source"]]
    placed = Assignment(np.full(len(spool), NONE), np.full(len(spool), "", object), np.full(len(spool), -1))
    asked = leakage.unique_prompts(spool["prompt"], declared)
    theirs = asked.declared_split[asked.of_row]
    elsewhere = np.flatnonzero((theirs != declared) & ((theirs == TEST) | (theirs == VAL)))
    placed.drop(elsewhere, "exact_leak", asked.first_row[asked.of_row[elsewhere]])
    drop_duplicates(placed, spool, asked, data.policies.answers)
    rows = placed.remaining_rows()
    asked = leakage.with_first_rows(asked, rows)
    found = LeakageResolver(
        spool, asked, rows, random_split(spool["draw"][asked.first_row], data), data.leaks.near_duplicate_threshold
    ).resolve()
    placed.split[rows] = found.split[asked.of_row[rows]]
    for reason in found.reasons:
        leaking = rows[found.reason[asked.of_row[rows]] == reason]
        placed.drop(leaking, reason, asked.first_row[found.owner[asked.of_row[leaking]]])
    learned = np.flatnonzero(placed.split == TRAIN)
    held = np.flatnonzero((placed.split == VAL) | (placed.split == TEST))
    held = held[np.unique(asked.of_row[held], return_index=True)[1]]
    dirty, owners = contamination.contaminated_rows(spool, learned, held, data)
    placed.drop(dirty, "contaminated", owners)
    return placed


def drop_duplicates(placed: Assignment, spool: RowStore, asked: UniquePrompts, answers: str) -> None:
    """Of rows that ask and answer the same the first stays; of those that answer otherwise, what the policy wants."""
    rows = placed.remaining_rows()
    _, first, same = np.unique(spool["said"][rows], return_index=True, return_inverse=True)
    copies = first[same] != np.arange(len(rows))
    placed.drop(rows[copies], "duplicate", rows[first[same[copies]]])
    if answers == "keep":
        return
    rows = rows[~copies]
    question = asked.of_row[rows] * 2 + spool["pair"][rows]  # a preference is no other answer to a plain row
    _, first, same, count = np.unique(question, return_index=True, return_inverse=True, return_counts=True)
    others = first[same] != np.arange(len(rows)) if answers == "first" else count[same] > 1
    placed.drop(rows[others], "other_answer", rows[first[same[others]]])


def random_split(draws: Array, data: DataConfig) -> Array:
    """The split of a prompt by its fingerprint, whatever other rows there are."""
    share = draws / 2.0**64
    return np.select([share < data.test_fraction, share < data.test_fraction + data.val_fraction], [TEST, VAL], TRAIN)
