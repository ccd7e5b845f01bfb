"""Sets that have much in common: every pair of at least a given Jaccard index is found, none is guessed.

Prefix filtering (Chaudhuri, Ganti & Kaushik 2006; Bayardo, Ma & Srikant 2007): with the elements of all sets in one
order, the rarest first, two sets of an index of t or more share one of their first |s| - ceil(t |s|) + 1 elements.
Only sets that do are compared.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np

from refrain.data.splitting import ragged
from refrain.data.splitting.ragged import Array, RaggedArray

MAX_COUNT = np.uint64(2047)  # from this count on, elements are equally common


MAX_SLOTS = 1 << 27  # of the table of counts, at most


@dataclass(frozen=True)
class Candidates:
    """Which sets share one of their rarest elements: `groups` of sets, ascending, and for each set its groups."""

    groups: RaggedArray
    groups_of: RaggedArray

    def earlier_than(self, one: int) -> Array:
        """The sets with a lower number that may be near; each once, ascending."""
        found = [
            members[: np.searchsorted(members, one)] for members in map(self.groups.__getitem__, self.groups_of[one])
        ]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)


def find_candidates(sets: RaggedArray, near: float) -> Candidates:
    """For sets of numbers of 44 bits."""
    counts = count_elements(sets)
    found = [prefix_elements(sets, rows, counts, near) for rows in sets.batches(np.arange(len(sets)))]
    pairs = np.sort(np.concatenate(found))
    element, member = pairs >> np.uint64(32), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)
    first = np.flatnonzero(np.concatenate([[True], element[1:] != element[:-1]])) if len(pairs) else np.zeros(0, int)
    sizes = np.diff(np.append(first, len(pairs)))
    shared = np.repeat(sizes > 1, sizes)
    member, sizes = member[shared], sizes[sizes > 1]
    group = np.repeat(np.arange(len(sizes)), sizes)
    order = np.argsort(member, kind="stable")
    owned = np.bincount(member, minlength=len(sets))
    return Candidates(ragged.from_lengths(member, sizes), ragged.from_lengths(group[order], owned))


def no_candidates(count: int) -> Candidates:
    """No candidates for so many sets."""
    nothing = np.zeros(count, np.int64)
    return Candidates(ragged.from_lengths(nothing[:0], nothing[:0]), ragged.from_lengths(nothing[:0], nothing))


def count_elements(sets: RaggedArray) -> Array:
    """How often an element occurs, at least: elements share the slots of a table."""
    total = int((sets.ends - sets.starts).sum())
    slots = min(MAX_SLOTS, 1 << max(10, total.bit_length() + 2))
    counts = np.zeros(slots, np.uint32)
    for rows in sets.batches(np.arange(len(sets))):
        elements = sets.gather(rows)[0]
        np.add.at(
            counts, slot_of(elements, counts), np.ones(len(elements), np.uint32)
        )  # twenty times as fast as with 1
    return counts


def slot_of(elements: Array, counts: Array) -> Array:
    return (elements & np.uint64(len(counts) - 1)).astype(np.int64)


def prefix_elements(sets: RaggedArray, rows: Array, counts: Array, near: float) -> Array:
    """Elements and sets, as one number each: the first ones of each set that occur more than once."""
    elements, lengths = sets.gather(rows)
    often = counts[slot_of(elements, counts)]
    enough = np.array([prefix_length(length, near) for length in range(int(lengths.max(initial=0)) + 1)])[lengths]
    alone = np.bincount(np.repeat(np.arange(len(rows)), lengths)[often == 1], minlength=len(rows)) >= enough
    inside = np.repeat(~alone, lengths)  # the others need no order: their first ones occur once
    rows, elements, often, lengths, enough = (
        rows[~alone],
        elements[inside],
        often[inside],
        lengths[~alone],
        enough[~alone],
    )
    row = np.repeat(np.arange(len(rows), dtype=np.uint64), lengths)
    rank = np.minimum(often, MAX_COUNT).astype(np.uint64) << np.uint64(32) | elements >> np.uint64(12)
    ordered = np.sort(row << np.uint64(43) | rank)
    row = ordered >> np.uint64(43)
    place = np.arange(len(ordered)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    repeated = (ordered >> np.uint64(32) & MAX_COUNT) > 1
    kept = (place < np.repeat(enough, lengths)) & repeated
    return ordered[kept] << np.uint64(32) | rows[row[kept].astype(np.int64)].astype(np.uint64)


def prefix_length(size: int, near: float) -> int:
    return size - minimum_overlap(size, near) + 1 if size else 0


def minimum_overlap(size: int, near: float) -> int:
    """ceil(near * size), whatever a float makes of 0.8 * 5."""
    return ceil(near * size - 1e-9)


def are_near(one: Array, others: RaggedArray, which: Array, near: float) -> Array:
    """For each of the other sets, whether its Jaccard index with this one is at least `near`."""
    elements, lengths = others.gather(which)
    if not len(one):
        return np.zeros(len(which), bool)
    place = np.minimum(np.searchsorted(one, elements), len(one) - 1)
    owner = np.repeat(np.arange(len(which)), lengths)
    common = np.bincount(owner[one[place] == elements], minlength=len(which))
    return common >= near * (len(one) + lengths - common) - 1e-9
