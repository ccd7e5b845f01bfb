"""Sets that have much in common: every pair of at least a given Jaccard index is found, none is guessed.

Prefix filtering (Chaudhuri, Ganti & Kaushik 2006; Bayardo, Ma & Srikant 2007): with the elements of all sets in one
order, the rarest first, two sets of an index of t or more share one of their first |s| - ceil(t |s|) + 1 elements.
Only sets that do are compared.
"""

from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

import numpy as np

from refrain.data.splitting import ragged
from refrain.data.splitting.ragged import Array, RaggedArray

ELEMENT_BITS = np.uint64(32)


MAX_COUNT = np.uint64(2047)  # 11 bits; from this count on, elements are equally common


RANK_SHIFT, SET_SHIFT = ELEMENT_BITS, ELEMENT_BITS + np.uint64(11)  # in one number: a set, a count, an element


MEMBER_BITS = np.uint64(32)  # in a pair: an element, then the number of a set that has it


MAX_SLOTS = 1 << 27  # of the table of counts, at most


FULL = (1 << 16) - 1  # of a count in the table


COUNTED_ELEMENTS = 1 << 22  # at a time


@dataclass(frozen=True)
class Candidates:
    """Which sets share one of their rarest elements: `groups` of sets, ascending, and for each set its groups."""

    groups: RaggedArray
    groups_of: RaggedArray
    earlier_counts: RaggedArray  # for each set, group by group, how many of the others have a lower number

    def select(self, numbers: Array) -> "Candidates":
        """Those of the named sets alone; the others then have none."""
        names, lengths = self.groups_of.gather(numbers)
        names, place = np.unique(names, return_inverse=True)
        groups = ragged.from_lengths(*self.groups.gather(names))
        groups_of_each = np.zeros(len(self.groups_of), np.int64)
        groups_of_each[numbers] = lengths
        earlier_counts, _ = self.earlier_counts.gather(numbers)
        of_each = (place, earlier_counts)
        return Candidates(groups, *(ragged.from_lengths(values, groups_of_each) for values in of_each))

    def earlier_than(self, number: int) -> Array:
        """The sets with a lower number that may be near; each once, ascending."""
        groups = self.groups_of[number]
        if not len(groups):
            return groups
        members = self.groups[groups[0]] if len(groups) == 1 else self.groups.gather(groups)[0]
        return ragged.sorted_unique(members[members < number])


def find_candidates(sets: RaggedArray, min_similarity: float) -> Candidates:
    """The candidates among sets of shingles."""
    pairs = prefix_pairs(sets, min_similarity)
    pairs.sort()
    member = (pairs & np.uint64((1 << int(MEMBER_BITS)) - 1)).astype(np.int64)
    first = np.flatnonzero(ragged.is_first_of_equals(pairs >> MEMBER_BITS))
    sizes = np.diff(np.append(first, len(pairs)))
    del pairs
    member, sizes = member[np.repeat(sizes > 1, sizes)], sizes[sizes > 1]
    groups = ragged.from_lengths(member, sizes)
    earlier_counts = np.arange(len(member)) - np.repeat(groups.starts, sizes)
    order = np.argsort(member, kind="stable")
    groups_of_each = np.bincount(member, minlength=len(sets))
    of_each = (np.repeat(np.arange(len(sizes)), sizes)[order], earlier_counts[order])
    return Candidates(groups, *(ragged.from_lengths(numbers, groups_of_each) for numbers in of_each))


def prefix_pairs(sets: RaggedArray, min_similarity: float) -> Array:
    """As `prefix_elements`, of all sets."""
    counts, batches = count_elements(sets), sets.batches(np.arange(len(sets)))
    pairs = [prefix_elements(sets, rows, counts, min_similarity) for rows in batches]
    del counts  # as large as all pairs
    return np.concatenate(pairs)


def count_elements(sets: RaggedArray) -> Array:
    """How often an element occurs, at least; elements share the slots of a table, and a count that is FULL may be
    larger."""
    total = int(sets.lengths().sum())
    counts = np.zeros(min(MAX_SLOTS, 1 << max(10, total.bit_length())), np.uint16)
    batches = list(sets.batches(np.arange(len(sets)), COUNTED_ELEMENTS))
    limit, full = FULL // len(batches), [np.zeros(0, np.uint32)]
    for rows in batches:
        slots = np.sort(slot_of(sets.gather(rows)[0], counts))  # in order, so that each line of the table comes once
        if (is_frequent := slots[limit:] == slots[:-limit]).any():
            full.append(ragged.sorted_unique(slots[limit:][is_frequent]))
            slots = slots[~np.isin(slots, full[-1])]
        np.add.at(counts, slots.astype(np.int64), np.ones(len(slots), np.uint16))  # twenty times as fast as with 1
    counts[np.concatenate(full).astype(np.int64)] = FULL
    return counts


def slot_of(elements: Array, counts: Array) -> Array:
    return elements & np.uint32(len(counts) - 1)


class SetBatch(NamedTuple):
    """Some of the sets, their elements one after the other."""

    numbers: Array  # of the sets
    lengths: Array
    prefix_lengths: Array
    elements: Array
    counts: Array  # how often each of the elements occurs in all sets


def prefix_elements(sets: RaggedArray, numbers: Array, counts: Array, min_similarity: float) -> Array:
    """Elements and sets, as one number each: the first ones of each set that occur more than once."""
    elements, lengths = sets.gather(numbers)
    of_length = np.array([prefix_length(length, min_similarity) for length in range(int(lengths.max(initial=0)) + 1)])
    batch = drop_sets_of_unique_elements(
        SetBatch(numbers, lengths, of_length[lengths], elements, counts[slot_of(elements, counts).astype(np.int64)])
    )
    ranked = rank_by_rarity(batch)
    place = np.arange(len(ranked)) - np.repeat(np.cumsum(batch.lengths) - batch.lengths, batch.lengths)
    is_in_prefix = place < np.repeat(batch.prefix_lengths, batch.lengths)
    is_repeated = (ranked >> RANK_SHIFT & MAX_COUNT) > 1
    ranked = ranked[is_in_prefix & is_repeated]
    members = batch.numbers[(ranked >> SET_SHIFT).astype(np.int64)].astype(np.uint64)
    pairs: Array = ranked << MEMBER_BITS | members
    return pairs


def drop_sets_of_unique_elements(batch: SetBatch) -> SetBatch:
    """Without sets that have a prefix of elements that occur once: no other set shares it, so they need no order."""
    owner = np.repeat(np.arange(len(batch.numbers)), batch.lengths)
    unique_counts = np.bincount(owner[batch.counts == 1], minlength=len(batch.numbers))
    stays = unique_counts < batch.prefix_lengths
    element_stays = np.repeat(stays, batch.lengths)
    return SetBatch(
        batch.numbers[stays],
        batch.lengths[stays],
        batch.prefix_lengths[stays],
        batch.elements[element_stays],
        batch.counts[element_stays],
    )


def rank_by_rarity(batch: SetBatch) -> Array:
    """The elements of each set, the rarest first: one number for the place of a set, a count and an element."""
    place = np.repeat(np.arange(len(batch.numbers), dtype=np.uint64), batch.lengths)
    rank = np.minimum(batch.counts, MAX_COUNT).astype(np.uint64)
    return np.sort(place << SET_SHIFT | rank << RANK_SHIFT | batch.elements)


def prefix_length(size: int, min_similarity: float) -> int:
    return size - minimum_overlap(size, min_similarity) + 1 if size else 0


def minimum_overlap(size: int, min_similarity: float) -> int:
    """ceil(near * size), whatever a float makes of 0.8 * 5."""
    return ceil(min_similarity * size - 1e-9)


def are_near(elements: Array, sets: RaggedArray, numbers: Array, min_similarity: float) -> Array:
    """For each of the named sets, whether its Jaccard index with a set of these elements is high enough."""
    others, lengths = sets.gather(numbers)
    if not len(elements):
        return np.zeros(len(numbers), bool)
    place = np.minimum(np.searchsorted(elements, others), len(elements) - 1)
    owner = np.repeat(np.arange(len(numbers)), lengths)
    common = np.bincount(owner[elements[place] == others], minlength=len(numbers))
    return common >= min_similarity * (len(elements) + lengths - common) - 1e-9
