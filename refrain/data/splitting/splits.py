"""One split for every prompt, its near copies and its group: train holds nothing that a held-out row asks.

Rows are placed one after the other: those of test files first, then of val and of train files, then all others in
their order. A row joins the split of what is near to it, so rows that are added at the end move no earlier one.
"""

from dataclasses import dataclass, field

import numpy as np

from refrain.data.parallel.freed_memory import return_freed_memory
from refrain.data.shapes.errors import Reason
from refrain.data.splitting import asked_questions, contamination, leakage
from refrain.data.splitting.leakage import NONE, TEST, TRAIN, VAL, LeakageResolver, UniquePrompts
from refrain.data.splitting.ragged import Array
from refrain.data.splitting.row_store import RowStore
from refrain.pipeline.schema import DataConfig

SCATTER = np.uint64(0x9E3779B97F4A7C15)  # odd: draws that decided on the split decide here as if drawn anew


@dataclass
class Assignment:
    """For each row its split, or NONE with the reason and the row that stays in its place."""

    split: Array
    reason: Array
    owner: Array
    short_questions: dict[int, int] = field(default_factory=dict)  # rows that ask them, and how many say them in train

    def drop(self, rows: Array, reason: Reason, owners: Array) -> None:
        self.split[rows], self.reason[rows], self.owner[rows] = NONE, reason, owners

    def remaining_rows(self) -> Array:
        """The rows that nothing has dropped."""
        return np.flatnonzero(self.owner < 0)


def assign_splits(store: RowStore, data: DataConfig, keep_bad_replies: bool = True) -> Assignment:
    """Where each row goes; replies that their rows call bad stay where a method learns from them, but never in test."""
    declared = store["declared"].astype(np.int64)
    assignment = Assignment(np.full(len(store), NONE), np.full(len(store), "", object), np.full(len(store), -1))
    prompts = leakage.unique_prompts(store["prompt"], declared)
    drop_exact_leaks(assignment, prompts, declared)
    drop_contradictions(assignment, store)
    drop_duplicates(assignment, store, prompts, data.policies.answers)
    prompts = leakage.with_first_rows(prompts, assignment.remaining_rows())
    place_prompts(assignment, store, prompts, data)
    return_freed_memory()
    set_bad_replies_aside(assignment, store, keep_bad_replies)
    drop_contaminated(assignment, store, prompts, data)
    drop_beyond_fraction(assignment, store, data.train_fraction)
    is_exam = np.isin(assignment.split, (VAL, TEST)) & (declared != NONE)
    assignment.short_questions = asked_questions.count_short_questions(
        store, np.flatnonzero(is_exam), np.flatnonzero(assignment.split == TRAIN)
    )
    return assignment


def drop_exact_leaks(assignment: Assignment, prompts: UniquePrompts, declared: Array) -> None:
    """A prompt of a val or test file stays in that file's split only."""
    of_prompt = prompts.declared_split[prompts.of_row]
    leaking = np.flatnonzero((of_prompt != declared) & ((of_prompt == TEST) | (of_prompt == VAL)))
    assignment.drop(leaking, "exact_leak", prompts.first_row[prompts.of_row[leaking]])


def drop_contradictions(assignment: Assignment, store: RowStore) -> None:
    """Rows of which one calls a reply good that the other calls bad."""
    rows = assignment.remaining_rows()
    is_bad = store["is_bad"][rows]
    if not is_bad.any():
        return
    values, value = np.unique(store["content"][rows], return_inverse=True)
    first = np.full((2, len(values)), -1)  # of the good and of the bad rows with a content
    first[is_bad[::-1].astype(int), value[::-1]] = rows[::-1]
    other = first[1 - is_bad.astype(int), value]
    assignment.drop(rows[other >= 0], "other_label", other[other >= 0])


def drop_duplicates(assignment: Assignment, store: RowStore, prompts: UniquePrompts, answers: str) -> None:
    """Of rows that ask and answer the same the first stays; of those that answer otherwise, what the policy wants.

    A bad reply is no answer.
    """
    rows = assignment.remaining_rows()
    _, first, value = np.unique(store["content"][rows], return_index=True, return_inverse=True)
    first_equal = first[value]
    is_copy = first_equal != np.arange(len(rows))
    assignment.drop(rows[is_copy], "duplicate", rows[first_equal[is_copy]])
    if answers == "keep":
        return
    rows = rows[~is_copy & ~store["is_bad"][rows]]
    question = prompts.of_row[rows] * 2 + store["is_preference"][rows]  # a preference is no other answer to a plain row
    _, first, value, count = np.unique(question, return_index=True, return_inverse=True, return_counts=True)
    first_equal = first[value]
    is_other = first_equal != np.arange(len(rows)) if answers == "first" else count[value] > 1
    assignment.drop(rows[is_other], "other_answer", rows[first_equal[is_other]])


def place_prompts(assignment: Assignment, store: RowStore, prompts: UniquePrompts, data: DataConfig) -> None:
    """The remaining rows to the splits of their prompts, but for those that leak from one split into another."""
    rows = assignment.remaining_rows()
    prompt = prompts.of_row[rows]
    random_splits = random_split(store["draw"][prompts.first_row], data)
    resolver = LeakageResolver(store, prompts, rows, random_splits, data).resolve()
    assignment.split[rows] = resolver.split[prompt]
    for reason in resolver.reasons:
        is_leaking = resolver.reason[prompt] == reason
        owners = prompts.first_row[resolver.owner[prompt[is_leaking]]]
        assignment.drop(rows[is_leaking], reason, owners)


def set_bad_replies_aside(assignment: Assignment, store: RowStore, keep_bad_replies: bool) -> None:
    """Out of test, where a reply is what others are compared with, and out of all splits if nothing learns of it."""
    is_placed = assignment.split == TEST if keep_bad_replies else assignment.split != NONE
    rows = np.flatnonzero(is_placed & store["is_bad"])
    assignment.drop(rows, "bad_reply", rows)


def drop_contaminated(assignment: Assignment, store: RowStore, prompts: UniquePrompts, data: DataConfig) -> None:
    """Training rows that say what a held-out row asks."""
    train = np.flatnonzero(assignment.split == TRAIN)
    held_out = np.flatnonzero((assignment.split == VAL) | (assignment.split == TEST))
    one_of_each_prompt = held_out[np.unique(prompts.of_row[held_out], return_index=True)[1]]
    contaminated, owners = contamination.contaminated_rows(store, train, one_of_each_prompt, data)
    assignment.drop(contaminated, "contaminated", owners)


def drop_beyond_fraction(assignment: Assignment, store: RowStore, fraction: float) -> None:
    """Training rows beyond a share of them, by a draw of their prompts, or groups: a smaller share is part of a larger.

    Other splits stay as they are, so what was learned from more and from fewer rows is measured on the same.
    """
    train = np.flatnonzero(assignment.split == TRAIN)
    shares = store["draw"][train] * SCATTER / 2.0**64
    beyond = train[shares >= fraction]
    assignment.drop(beyond, "beyond_fraction", beyond)


def random_split(draws: Array, data: DataConfig) -> Array:
    """The split of a prompt by its fingerprint, whatever other rows there are."""
    shares = draws / 2.0**64
    return np.select([shares < data.test_fraction, shares < data.test_fraction + data.val_fraction], [TEST, VAL], TRAIN)
