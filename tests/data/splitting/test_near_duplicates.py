"""The quick search is as good as comparing all with all."""

import random

import numpy as np
import pytest

from refrain.data.splitting import near_duplicates, ragged


def jaccard(one, other):
    return len(one & other) / len(one | other) if one | other else 0


@pytest.fixture(scope="module")
def sets():
    """Some of common elements, some of rare ones, many that differ from an earlier one in a few."""
    rng = random.Random(1)
    result = [set()]
    for _ in range(600):
        if rng.random() < 0.5:
            changed = sorted(rng.choice(result))
            for _ in range(rng.randint(0, 3) if changed else 0):
                changed[rng.randrange(len(changed))] = rng.randrange(1 << 32)
            result.append(set(changed))
        else:
            common = [rng.randrange(30) * 7919 for _ in range(rng.randint(0, 14))]
            result.append({rng.choice([element, rng.randrange(1 << 32)]) for element in common})
    return result


@pytest.mark.parametrize("share", [0.5, 0.6, 0.75, 0.8, 1.0])
@pytest.mark.parametrize("slots", [1 << 6, 1 << 27])
def test_the_search_finds_what_comparing_all_with_all_finds(sets, share, slots, monkeypatch):
    """Where few slots are, elements share their counts: the order is worse, the result is not."""
    monkeypatch.setattr(near_duplicates, "MAX_SLOTS", slots)
    flat = np.array([element for each in sets for element in sorted(each)], np.uint32)
    listed = ragged.from_lengths(flat, np.array(list(map(len, sets))))
    candidates = near_duplicates.find_candidates(listed, share)
    found = set()
    for one in range(len(sets)):
        others = candidates.earlier_than(one)
        found |= {(int(other), one) for other in others[near_duplicates.are_near(listed[one], listed, others, share)]}
    pairs = ((a, b) for b in range(len(sets)) for a in range(b))
    expected = {(a, b) for a, b in pairs if jaccard(sets[a], sets[b]) >= share}
    assert found == expected
    assert len(expected) > 50
    has_earlier = [len(candidates.earlier_than(number)) > 0 for number in range(len(sets))]
    assert candidates.have_earlier().tolist() == has_earlier


def test_a_share_that_a_float_misses_still_counts():
    """0.7 of 10 is 7, which a float makes a little more."""
    one, other = set(range(10)), set(range(7))
    listed = ragged.from_lengths(np.array([*sorted(other), *sorted(one)], np.uint32), np.array([7, 10]))
    assert near_duplicates.find_candidates(listed, 0.7).earlier_than(1).tolist() == [0]
    assert near_duplicates.are_near(listed[1], listed, np.array([0]), 0.7).tolist() == [True]


def test_sets_without_elements_are_near_to_none():
    listed = ragged.from_lengths(np.zeros(0, np.uint32), np.zeros(3, int))
    assert not len(near_duplicates.find_candidates(listed, 0.8).earlier_than(2))
    assert not near_duplicates.are_near(listed[0], listed, np.array([1, 2]), 0.8).any()
