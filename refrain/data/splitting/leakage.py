"""Different prompts in the order in which they are placed: first those of files with a split, test before val.

Which split each prompt joins: that of what is near to it, or of its group.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from refrain.data.shapes.errors import Reason
from refrain.data.splitting import near_duplicates, ragged
from refrain.data.splitting.ragged import Array, RaggedArray
from refrain.data.splitting.row_store import RowStore

TRAIN, VAL, TEST, NONE = range(4)


SPLITS = ("train", "val", "test")


SPLIT_RANK = np.array([2, 1, 0, 3])  # who comes first, by split: test, val, train, none


@dataclass(frozen=True)
class UniquePrompts:
    """Different prompts in the order in which they are placed."""

    of_row: Array  # of each row
    first_row: Array  # the first that has it, of those that decide
    declared_split: Array  # declared, or NONE


def unique_prompts(keys: Array, declared: Array) -> UniquePrompts:
    """A prompt of a file with a split is in that split only; test outranks val, and val outranks train."""
    order = np.argsort(SPLIT_RANK[declared], kind="stable")
    _, first, prompt = np.unique(keys[order], return_index=True, return_inverse=True)
    place = np.argsort(first)  # by rank, then in the order of the rows
    number = np.empty_like(place)
    number[place] = np.arange(len(place))
    of = np.empty_like(order)
    of[order] = number[prompt]
    row = order[first[place]]
    return UniquePrompts(of, row, declared[row])


def with_first_rows(prompts: UniquePrompts, rows: Array) -> UniquePrompts:
    """The same prompts, each with the first of these rows that has it."""
    row = prompts.first_row.copy()
    row[prompts.of_row[rows[::-1]]] = rows[::-1]
    return UniquePrompts(prompts.of_row, row, prompts.declared_split)


CROWD = 2_000  # prompts that are taken for near unseen


class Conflict(NamedTuple):
    """An earlier prompt that another one is near to, or of one group with."""

    prompt: int
    split: int
    declared: bool
    reason: Reason  # why the two may not stand in different splits


class LeakageResolver:
    """Prompts settled one after the other; `split` begins with what is declared or else drawn."""

    reasons: tuple[Reason, ...] = ("near_leak", "group_leak")

    def __init__(self, spool: RowStore, prompts: UniquePrompts, rows: Array, drawn: Array, share: float | None) -> None:
        self.shingles, self.min_similarity = spool.ragged_column("runs").select(prompts.first_row), share
        self.candidates = (
            near_duplicates.find_candidates(self.shingles, share)
            if share is not None
            else near_duplicates.no_candidates(len(prompts.first_row))
        )
        self.groups, self.groups_of = group_members(spool["group"][rows], prompts.of_row[rows], len(prompts.first_row))
        self.declared = prompts.declared_split
        self.split = np.where(self.declared == NONE, drawn, self.declared)
        self.reason = np.full(len(self.split), "", object)
        self.owner = np.full(len(self.split), -1)
        self.absent = np.ones(len(self.split), bool)  # in no split: no other prompt joins it
        self.absent[prompts.of_row[rows]] = False

    def resolve(self) -> "LeakageResolver":
        some = (self.groups_of.ends > self.groups_of.starts) | (
            self.candidates.groups_of.ends > self.candidates.groups_of.starts
        )
        for prompt in np.flatnonzero(some & ~self.absent).tolist():
            self.place_prompt(prompt)
        return self

    def place_prompt(self, prompt: int) -> None:
        """Let a prompt go where what it met has gone; nowhere, when it met two splits or one that it may not join."""
        met, own = self.find_conflicts(prompt), int(self.declared[prompt])
        if own != NONE:
            strange = [other for other in met if other.split != own]
        elif len({other.split for other in met}) > 1:
            strange = [other for other in met if other.split != TRAIN]
        else:
            strange = [other for other in met if other.split != TRAIN and other.declared]  # nobody joins a test file
        if strange:
            first = min(strange, key=lambda other: SPLIT_RANK[other.split])
            self.owner[prompt], self.reason[prompt], self.absent[prompt] = first.prompt, first.reason, True
        elif met and own == NONE:
            self.split[prompt] = met[0].split

    def find_conflicts(self, prompt: int) -> list[Conflict]:
        """Of each kind of earlier prompts that are near, and of each group, one."""
        others = self.candidates.earlier_than(prompt)
        others = others[~self.absent[others]]
        kinds = self.split[others] * 2 + (self.declared[others] != NONE)
        near = [one for kind in np.unique(kinds) for one in self.find_first_near(prompt, others[kinds == kind])]
        fellows = [
            one for group in self.groups_of[prompt] for one in self.find_first_of_group(self.groups[group], prompt)
        ]
        return [self.make_conflict(one, "near_leak") for one in near] + [
            self.make_conflict(one, "group_leak") for one in fellows
        ]

    def make_conflict(self, prompt: int, reason: Reason) -> Conflict:
        return Conflict(prompt, int(self.split[prompt]), bool(self.declared[prompt] != NONE), reason)

    def find_first_near(self, prompt: int, others: Array) -> list[int]:
        """The first of the others that is near, if any is.

        Of a crowd without a declared split the first is taken unseen: all of it then stands on one side, which is no
        leak, and the time stays in proportion to the rows.
        """
        if len(others) > CROWD and self.declared[others[0]] == NONE:
            return [int(others[0])]
        for begin in range(0, len(others), 64):
            some = others[begin : begin + 64]
            alike = near_duplicates.are_near(self.shingles[prompt], self.shingles, some, self.min_similarity or 0)
            if alike.any():
                return [int(some[alike.argmax()])]
        return []

    def find_first_of_group(self, group: Array, prompt: int) -> list[int]:
        """The first of a group that is in a split, if it comes before the prompt."""
        before = group[: np.searchsorted(group, prompt)]
        return [int(other) for other in before[~self.absent[before]][:1]]


def group_members(groups: Array, prompts: Array, count: int) -> tuple[RaggedArray, RaggedArray]:
    """The prompts of each group of several, ascending, and the groups of each prompt."""
    pairs = np.unique(np.stack([groups, prompts.astype(np.uint64)], axis=1)[groups != 0], axis=0)
    _, group, sizes = np.unique(pairs[:, 0], return_inverse=True, return_counts=True)
    several = sizes[group] > 1
    _, group = np.unique(group[several], return_inverse=True)
    prompt = pairs[several, 1].astype(np.int64)
    order = np.argsort(prompt, kind="stable")
    return ragged.from_lengths(prompt, np.bincount(group)), ragged.from_lengths(
        group[order], np.bincount(prompt, minlength=count)
    )
