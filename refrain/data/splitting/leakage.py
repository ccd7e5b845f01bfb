"""Which split each prompt joins: that of what is near to it, or of its group.

Prompts are placed in order: first those of files with a split, test before val before train, then all others.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from refrain.data.shapes.errors import Reason
from refrain.data.splitting import crowds, near_prompts, ragged
from refrain.data.splitting.asked_questions import find_asked_questions
from refrain.data.splitting.near_prompts import NearSearch
from refrain.data.splitting.ragged import Array, RaggedArray
from refrain.data.splitting.row_store import RowStore
from refrain.pipeline.schema import DataConfig

TRAIN, VAL, TEST, NONE = range(4)


SPLITS = ("train", "val", "test")


SPLIT_RANK = np.array([2, 1, 0, 3])  # who comes first, by split: test, val, train, none


@dataclass(frozen=True)
class UniquePrompts:
    """Different prompts in the order in which they are placed."""

    of_row: Array  # for each row the number of its prompt
    first_row: Array  # for each prompt the first row that has it, of those that decide
    declared_split: Array  # for each prompt the split of its file, or NONE


def unique_prompts(keys: Array, declared: Array) -> UniquePrompts:
    """A prompt of a file with a split is in that split only; test outranks val, and val outranks train."""
    order = np.argsort(SPLIT_RANK[declared], kind="stable")  # of the rows: by rank, then as they come
    _, first, key = np.unique(keys[order], return_index=True, return_inverse=True)
    key_of_prompt = np.argsort(first)
    prompt_of_key = np.empty_like(key_of_prompt)
    prompt_of_key[key_of_prompt] = np.arange(len(key_of_prompt))
    of_row = np.empty_like(order)
    of_row[order] = prompt_of_key[key]
    first_row = order[first[key_of_prompt]]
    return UniquePrompts(of_row, first_row, declared[first_row])


def with_first_rows(prompts: UniquePrompts, rows: Array) -> UniquePrompts:
    """The same prompts, each with the first of these rows that has it."""
    first_row = prompts.first_row.copy()
    first_row[prompts.of_row[rows[::-1]]] = rows[::-1]
    return UniquePrompts(prompts.of_row, first_row, prompts.declared_split)


class Conflict(NamedTuple):
    """An earlier prompt that another one is near to, of one group with, or that asks what the other asks."""

    prompt: int
    split: int
    is_declared: bool
    reason: Reason  # why the two may not stand in different splits


class LeakageResolver:
    """Places prompts one after the other; `split` begins with what is declared or else drawn."""

    reasons: tuple[Reason, ...] = ("exact_leak", "near_leak", "group_leak")

    def __init__(
        self, store: RowStore, prompts: UniquePrompts, rows: Array, random_splits: Array, data: DataConfig
    ) -> None:
        with near_prompts.near_searches(store, prompts.first_row, data) as searches:
            self.questions = find_asked_questions(store, prompts.of_row, prompts.first_row, rows)
            self.searches = list(searches)
        self.crowds = [crowds.CrowdMembers(search, self.kinds_of, self.is_drawn) for search in self.searches]
        self.is_chat = store["is_chat"][prompts.first_row]
        self.groups, self.groups_of = group_members(store["group"][rows], prompts.of_row[rows], len(prompts.first_row))
        self.declared = prompts.declared_split
        self.split = np.where(self.declared == NONE, random_splits, self.declared)
        self.reason = np.full(len(self.split), "", object)
        self.owner = np.full(len(self.split), -1)
        self.is_absent = np.ones(len(self.split), bool)  # in no split: no other prompt joins it
        self.is_absent[prompts.of_row[rows]] = False

    def resolve(self) -> "LeakageResolver":
        """Every prompt that is in a group, may be near an earlier one, or asks what another one asks."""
        related = [of_each.lengths() > 0 for of_each in (self.groups_of, self.questions.own, self.questions.said)]
        related += [search.have_earlier_candidates() for search in self.searches]
        for prompt in np.flatnonzero(np.logical_or.reduce(related) & ~self.is_absent).tolist():
            self.place_prompt(prompt)
        del self.crowds, self.searches, self.questions  # large, and crowds refer back: freed here, not some time later
        return self

    def place_prompt(self, prompt: int) -> None:
        """Let a prompt join the split of its conflicts; none, when they are in two or in one that it may not join."""
        conflicts, own_split = self.find_conflicts(prompt), int(self.declared[prompt])
        if own_split != NONE:
            obstacles = [conflict for conflict in conflicts if conflict.split != own_split]
        elif len({conflict.split for conflict in conflicts}) > 1:
            obstacles = [conflict for conflict in conflicts if conflict.split != TRAIN]
        else:
            declared = [conflict for conflict in conflicts if conflict.is_declared]  # nobody joins a test file
            obstacles = [conflict for conflict in declared if conflict.split != TRAIN]
        if obstacles:
            first = min(obstacles, key=lambda conflict: SPLIT_RANK[conflict.split])
            self.owner[prompt], self.reason[prompt], self.is_absent[prompt] = first.prompt, first.reason, True
        elif conflicts and own_split == NONE:
            self.split[prompt] = conflicts[0].split

    def find_conflicts(self, prompt: int) -> list[Conflict]:
        """Of each kind of earlier prompts that ask the same or are near, and of each group, one."""
        conflicts = [self.make_conflict(others[0], "exact_leak") for others in self.by_kind(self.find_asking(prompt))]
        for search, crowd in zip(self.searches, self.crowds, strict=True):
            known = {(conflict.split, conflict.is_declared) for conflict in conflicts}
            source = crowd if search.is_crowded[prompt] else search
            for others in self.by_kind(source.earlier_candidates(prompt)):
                if (self.split[others[0]], self.declared[others[0]] != NONE) not in known:
                    near = self.find_first_near(search, prompt, others)
                    conflicts += [self.make_conflict(other, "near_leak") for other in near]
        for group in self.groups_of[prompt]:
            members = self.find_first_of_group(self.groups[group], prompt)
            conflicts += [self.make_conflict(other, "group_leak") for other in members]
        return conflicts

    def by_kind(self, prompts: Array) -> list[Array]:
        """Those of the prompts that are in a split, in portions of one split, declared or not."""
        if not len(prompts):
            return []
        kinds = self.kinds_of(prompts)
        return [prompts[kinds == kind] for kind in sorted(set(kinds.tolist()) - {-1})]

    def kinds_of(self, prompts: Array) -> Array:
        """A number for each split of the prompts, declared or not; -1 for none."""
        kinds = self.split[prompts] * 2 + (self.declared[prompts] != NONE)
        return np.where(self.is_absent[prompts], -1, kinds)

    def is_drawn(self, kind: int) -> bool:
        """Whether the split of a kind is not declared."""
        return kind % 2 == 0

    def find_asking(self, prompt: int) -> Array:
        """The earlier prompts of which one may not be held out while the other is learned, for it asks the same.

        A chat may ask more: what is held out may stand in it only if it is held out too.
        """
        is_alone, others = not self.is_chat[prompt], [np.zeros(0, np.int64)]
        for question in self.questions.said[prompt]:
            owners = before(self.questions.owners[question], prompt)
            others.append(owners[(self.split[owners] != TRAIN) | is_alone & ~self.is_chat[owners]])
        for question in self.questions.own[prompt]:
            sayers = before(self.questions.sayers[question], prompt)
            others.append(sayers[(self.split[sayers] == TRAIN) | is_alone & ~self.is_chat[sayers]])
        return ragged.sorted_unique(np.concatenate(others)) if len(others) > 1 else others[0]

    def make_conflict(self, prompt: int, reason: Reason) -> Conflict:
        return Conflict(int(prompt), int(self.split[prompt]), bool(self.declared[prompt] != NONE), reason)

    def find_first_near(self, search: NearSearch, prompt: int, others: Array) -> list[int]:
        """The first of the others that is near, if any is.

        Of a crowd without a declared split the first is taken unseen: all of it then stands on one side, which is no
        leak, and the time stays in proportion to the rows.
        """
        if len(others) > crowds.CROWD and self.declared[others[0]] == NONE:
            return [int(others[0])]
        return search.find_first_near(prompt, others)

    def find_first_of_group(self, group: Array, prompt: int) -> list[int]:
        """The first of a group that is in a split, if it comes before the prompt."""
        earlier = before(group, prompt)
        return [int(other) for other in earlier[~self.is_absent[earlier]][:1]]


def before(prompts: Array, prompt: int) -> Array:
    """Those of ascending prompts that come before one."""
    return prompts[: np.searchsorted(prompts, prompt)]


def group_members(groups: Array, prompts: Array, count: int) -> tuple[RaggedArray, RaggedArray]:
    """The prompts of each group of several, ascending, and the groups of each prompt."""
    pairs = np.unique(np.stack([groups, prompts.astype(np.uint64)], axis=1)[groups != 0], axis=0)
    _, group, sizes = np.unique(pairs[:, 0], return_inverse=True, return_counts=True)
    is_shared = sizes[group] > 1
    _, group = np.unique(group[is_shared], return_inverse=True)
    prompt = pairs[is_shared, 1].astype(np.int64)
    order = np.argsort(prompt, kind="stable")
    return ragged.from_lengths(prompt, np.bincount(group)), ragged.from_lengths(
        group[order], np.bincount(prompt, minlength=count)
    )
