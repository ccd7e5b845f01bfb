"""Candidates compared many at a time: of most sets the few others that may be near are known at once.

A set of a crowd, of which there may be very many, is left to be compared when it is asked for, and only as far as that
takes.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from refrain.data.splitting import ragged
from refrain.data.splitting.near_duplicates import Candidates
from refrain.data.splitting.ragged import Array, RaggedArray

MAX_MEETINGS = 512  # of a set with earlier ones in the groups of candidates; more are a crowd


MAX_COMPARED = 16  # earlier sets that a set is compared with here; more are a crowd


BATCH_PAIRS, BATCH_ELEMENTS = 1 << 18, 1 << 20  # at a time


PAIR_BITS = np.uint64(32)  # in one number: the later set, then the earlier one


class NearPairs(NamedTuple):
    later: Array  # ascending, and for each of them the earlier ones
    earlier: Array
    is_crowded: Array  # for each set whether its candidates were too many to be compared


def find_near_pairs(candidates: Candidates, sets: RaggedArray, min_similarity: float) -> NearPairs:
    """All pairs that are near, but for those whose later set is of a crowd."""
    sums = np.concatenate([[0], np.cumsum(candidates.earlier_counts.flat[:])])
    meetings = sums[candidates.earlier_counts.ends] - sums[candidates.earlier_counts.starts]
    is_crowded = meetings > MAX_MEETINGS
    near = [np.zeros(0, np.uint64)]
    few = ragged.from_lengths(meetings, np.where(is_crowded, 0, meetings))
    for numbers in few.batches(np.flatnonzero(few.lengths()), BATCH_PAIRS):
        pairs = may_be_near(candidate_pairs(candidates, numbers), sets, min_similarity)
        later = split_pairs(pairs)[0]
        first = np.flatnonzero(ragged.is_first_of_equals(later))
        count = np.diff(first, append=len(later))
        is_crowded[later[first[count > MAX_COMPARED]]] = True
        pairs = pairs[np.repeat(count <= MAX_COMPARED, count)]
        near += compare_pairs(pairs, sets, min_similarity)
    return NearPairs(*split_pairs(np.concatenate(near)), is_crowded)


def candidate_pairs(candidates: Candidates, numbers: Array) -> Array:
    """Each of these sets with each earlier one that it shares a group with, once."""
    groups, group_counts = candidates.groups_of.gather(numbers)
    earlier_counts, _ = candidates.earlier_counts.gather(numbers)
    later = np.repeat(np.repeat(numbers, group_counts), earlier_counts)
    shift = candidates.groups.starts[groups] - (np.cumsum(earlier_counts) - earlier_counts)
    earlier = candidates.groups.flat[np.arange(len(later)) + np.repeat(shift, earlier_counts)]
    return ragged.sorted_unique(later.astype(np.uint64) << PAIR_BITS | earlier.astype(np.uint64))


def split_pairs(pairs: Array) -> tuple[Array, Array]:
    """The later sets and the earlier ones."""
    return (pairs >> PAIR_BITS).astype(np.int64), pairs.astype(np.uint32).astype(np.int64)


def may_be_near(pairs: Array, sets: RaggedArray, min_similarity: float) -> Array:
    """Those of the pairs whose sizes allow it."""
    sizes = np.stack([sets.lengths()[numbers] for numbers in split_pairs(pairs)])
    return np.asarray(pairs[sizes.min(axis=0) >= min_similarity * sizes.max(axis=0) - 1e-9])


def compare_pairs(pairs: Array, sets: RaggedArray, min_similarity: float) -> Iterator[Array]:
    """Those of the pairs that are near, some at a time."""
    later, earlier = split_pairs(pairs)
    both = ragged.from_lengths(pairs, sets.lengths()[later] + sets.lengths()[earlier])
    for numbers in both.batches(np.arange(len(pairs)), BATCH_ELEMENTS) if len(pairs) else ():
        members = [sets.gather(side[numbers]) for side in (later, earlier)]
        keyed = [np.repeat(np.arange(len(numbers), dtype=np.uint64), lengths) << PAIR_BITS | elements
                 for elements, lengths in members]  # fmt: skip
        ordered = np.sort(np.concatenate(keyed))
        is_common = ordered[1:] == ordered[:-1]
        common = np.bincount((ordered[1:][is_common] >> PAIR_BITS).astype(np.int64), minlength=len(numbers))
        union = members[0][1] + members[1][1] - common
        yield pairs[numbers[common >= min_similarity * union - 1e-9]]
