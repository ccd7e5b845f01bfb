"""Prompts that are near to each other by one of two measures, both a Jaccard index of runs of words.

Runs of leaks.ngram_size words of the whole prompt, symbols and the ends of the text among them; and runs of five words
without symbols, of the whole prompt or, in a chat, of what the user says.
"""

import numpy as np

from refrain.data.splitting import near_duplicates, ragged
from refrain.data.splitting.ragged import Array, RaggedArray
from refrain.data.splitting.row_store import RowStore

NEAR_AT_ONCE = 64  # others that are compared at a time


NOTHING = np.zeros(0, np.int64)


class NearSearch:
    """Every pair of prompts of which one set is near to one of the other's; each prompt has so many sets."""

    def __init__(self, sets: RaggedArray, sets_per_prompt: int, min_similarity: float) -> None:
        self.sets, self.sets_per_prompt, self.min_similarity = sets, sets_per_prompt, min_similarity
        self.candidates = near_duplicates.find_candidates(sets, min_similarity)

    def have_earlier_candidates(self) -> Array:
        """For each prompt whether one with a lower number may be near to it."""
        return np.asarray(self.candidates.have_earlier().reshape(-1, self.sets_per_prompt).any(axis=1))

    def own_sets(self, prompt: int) -> range:
        return range(prompt * self.sets_per_prompt, (prompt + 1) * self.sets_per_prompt)

    def earlier_candidates(self, prompt: int) -> Array:
        """The prompts with a lower number that may be near; each once, ascending."""
        if self.sets_per_prompt == 1:
            return self.candidates.earlier_than(prompt)
        found = (self.candidates.earlier_than(number) for number in self.own_sets(prompt))
        earlier = [members // self.sets_per_prompt for members in found if len(members)]
        candidates = ragged.sorted_unique(np.concatenate(earlier)) if earlier else NOTHING
        return candidates[: np.searchsorted(candidates, prompt)]

    def find_first_near(self, prompt: int, others: Array) -> list[int]:
        """The first of the others that is near, if any is."""
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


def near_searches(store: RowStore, rows: Array, min_similarity: float | None) -> list[NearSearch]:
    """The searches among the prompts of these rows, each of which is a prompt by its place; none without a share."""
    if min_similarity is None:
        return []
    ngrams = store.ragged_column("ngrams").select(rows)
    middle = ngrams.starts + store["prompt_ngrams"][rows]
    starts, ends = np.stack([ngrams.starts, middle], axis=1), np.stack([middle, ngrams.ends], axis=1)
    return [
        NearSearch(store.ragged_column("shingles").select(rows), 1, min_similarity),
        NearSearch(RaggedArray(ngrams.flat, starts.ravel(), ends.ravel()), 2, min_similarity),
    ]
