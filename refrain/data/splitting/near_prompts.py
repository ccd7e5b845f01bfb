"""Prompts that are near to each other by one of two measures, both a Jaccard index of runs of words.

Runs of leaks.ngram_size words of the whole prompt, symbols and the ends of the text among them; and runs of five words
without symbols, of the whole prompt or, in a chat, of what the user says.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from refrain.data.parallel import mapping
from refrain.data.splitting import asked_questions, near_duplicates, near_pairs, ragged
from refrain.data.splitting.near_duplicates import Candidates
from refrain.data.splitting.ragged import Array, RaggedArray
from refrain.data.splitting.row_store import FILE_COLUMNS, RowStore
from refrain.pipeline.schema import DataConfig

NEAR_AT_ONCE = 64  # others that are compared at a time


FEW_ELEMENTS = 1 << 23  # of all sets: searched in less time than processes take to start


NOTHING = np.zeros(0, np.int64)


class NearPrompts(NamedTuple):
    """What is near to each prompt, or may be."""

    near: RaggedArray  # the earlier prompts that are near, but of a prompt in a crowd
    is_crowded: Array
    candidates: Candidates  # of the prompts in a crowd, set by set


@dataclass(frozen=True)
class PromptSets:
    """Sets of shingles of prompts in a file of the store, so many for each prompt."""

    name: str
    starts: Array
    ends: Array
    sets_per_prompt: int

    def open(self, file: IO[bytes]) -> RaggedArray:
        return RaggedArray(ragged.FileArray(file.fileno(), FILE_COLUMNS[self.name]), self.starts, self.ends)


@dataclass(frozen=True)
class FindNearPrompts:
    """Finds every pair of prompts of which one set is near to one of the other's."""

    folder: Path  # of the store
    min_similarity: float

    def __call__(self, prompts: PromptSets) -> NearPrompts:
        per_prompt = prompts.sets_per_prompt
        with (self.folder / prompts.name).open("rb") as file:
            sets = prompts.open(file)
            candidates = near_duplicates.find_candidates(sets, self.min_similarity)
            later, earlier, is_crowded = near_pairs.find_near_pairs(candidates, sets, self.min_similarity)
        is_crowded = np.asarray(is_crowded.reshape(-1, per_prompt).any(axis=1))
        pairs = asked_questions.unique_pairs(later // per_prompt, earlier // per_prompt)
        near = asked_questions.group_pairs(pairs[pairs[:, 0] != pairs[:, 1]], len(is_crowded))
        return NearPrompts(near, is_crowded, candidates.select(np.flatnonzero(np.repeat(is_crowded, per_prompt))))


class NearSearch:
    """The earlier prompts that are near, of any prompt."""

    def __init__(self, sets: RaggedArray, sets_per_prompt: int, min_similarity: float, found: NearPrompts) -> None:
        self.sets, self.sets_per_prompt, self.min_similarity = sets, sets_per_prompt, min_similarity
        self.near, self.is_crowded, self.candidates = found

    def have_earlier_candidates(self) -> Array:
        """For each prompt whether one with a lower number is near to it, or may be in a crowd."""
        return (self.near.lengths() > 0) | self.is_crowded

    def own_sets(self, prompt: int) -> range:
        return range(prompt * self.sets_per_prompt, (prompt + 1) * self.sets_per_prompt)

    def earlier_candidates(self, prompt: int) -> Array:
        """The prompts with a lower number that are near, or may be in a crowd; each once, ascending."""
        if not self.is_crowded[prompt]:
            return self.near[prompt]
        found = (self.candidates.earlier_than(number) for number in self.own_sets(prompt))
        earlier = [members // self.sets_per_prompt for members in found if len(members)]
        candidates = ragged.sorted_unique(np.concatenate(earlier)) if earlier else NOTHING
        return candidates[: np.searchsorted(candidates, prompt)]

    def find_first_near(self, prompt: int, others: Array) -> list[int]:
        """The first of these earlier candidates that is near, if any is."""
        if not self.is_crowded[prompt]:
            return [int(other) for other in others[:1]]
        own = [number for number in self.own_sets(prompt) if self.sets.starts[number] < self.sets.ends[number]]
        for start in range(0, len(others), NEAR_AT_ONCE):
            batch = others[start : start + NEAR_AT_ONCE]
            members = np.add.outer(batch * self.sets_per_prompt, np.arange(self.sets_per_prompt))
            is_near = np.zeros(members.size, bool)
            for number in own:
                is_near |= near_duplicates.are_near(self.sets[number], self.sets, members.ravel(), self.min_similarity)
            is_near_prompt = is_near.reshape(members.shape).any(axis=1)
            if is_near_prompt.any():
                return [int(batch[is_near_prompt.argmax()])]
        return []


@contextmanager
def near_searches(store: RowStore, rows: Array, data: DataConfig) -> Iterator[Iterator[NearSearch]]:
    """Inside, the searches among the prompts of these rows, each of which is a prompt by its place; none without a
    share. They begin now, and are waited for when they are taken."""
    min_similarity = data.leaks.near_duplicate_threshold
    if min_similarity is None:
        yield iter(())
        return
    wanted, find = prompt_sets(store, rows), FindNearPrompts(store.folder, min_similarity)
    elements = sum(int((prompts.ends - prompts.starts).sum()) for prompts in wanted)
    is_quick = elements < FEW_ELEMENTS
    with nullcontext(map(find, wanted)) if is_quick else mapping.map_at_once(find, wanted, data) as results:
        yield (
            NearSearch(prompts.open(store.files[prompts.name]), prompts.sets_per_prompt, min_similarity, found)
            for prompts, found in zip(wanted, results, strict=True)
        )


def prompt_sets(store: RowStore, rows: Array) -> list[PromptSets]:
    """Of the prompts of these rows the sets of both kinds."""
    shingles, ngrams = (store.ragged_column(name).select(rows) for name in ("shingles", "ngrams"))
    middle = ngrams.starts + store["prompt_ngrams"][rows]
    starts, ends = np.stack([ngrams.starts, middle], axis=1), np.stack([middle, ngrams.ends], axis=1)
    return [
        PromptSets("shingles", shingles.starts, shingles.ends, 1),
        PromptSets("ngrams", starts.ravel(), ends.ravel(), 2),
    ]
