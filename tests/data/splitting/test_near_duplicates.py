"""The quick search is as good as comparing all with all."""

import random

import numpy as np
import pytest

from refrain.data.splitting import near_duplicates, near_pairs, ragged


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
@pytest.mark.parametrize("slots, full, at_once", [(1 << 6, 50, 500), (1 << 27, (1 << 16) - 1, 1 << 22)])
def test_the_search_finds_what_comparing_all_with_all_finds(sets, share, slots, full, at_once, monkeypatch):
    """Where few slots are, elements share their counts, and counts are full: the order is worse, the result is not."""
    monkeypatch.setattr(near_duplicates, "MAX_SLOTS", slots)
    monkeypatch.setattr(near_duplicates, "FULL", full)
    monkeypatch.setattr(near_duplicates, "COUNTED_ELEMENTS", at_once)
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
    some = np.arange(0, len(sets), 3)
    selected = candidates.select(some)
    assert all(selected.earlier_than(number).tolist() == candidates.earlier_than(number).tolist() for number in some)
    assert not any(len(selected.earlier_than(number)) for number in range(1, len(sets), 3))

    monkeypatch.setattr(near_pairs, "MAX_COMPARED", 4)
    monkeypatch.setattr(near_pairs, "BATCH_PAIRS", 100)
    monkeypatch.setattr(near_pairs, "BATCH_ELEMENTS", 300)
    later, earlier, is_crowded = near_pairs.find_near_pairs(candidates, listed, share)
    assert list(zip(earlier.tolist(), later.tolist(), strict=True)) == sorted(
        ((a, b) for a, b in expected if not is_crowded[b]), key=lambda pair: pair[::-1]
    )
    assert len(later) > 20 and (is_crowded.any() or share == 1)


def test_a_count_that_is_full_is_no_smaller_than_it_may_be(monkeypatch):
    monkeypatch.setattr(near_duplicates, "FULL", 40)
    monkeypatch.setattr(near_duplicates, "COUNTED_ELEMENTS", 20)
    sizes = np.array([1] * 50 + [2] * 5)
    listed = ragged.from_lengths(np.array([7] * 50 + [8, 9] * 5, np.uint32), sizes)
    assert near_duplicates.count_elements(listed)[[7, 8, 9, 10]].tolist() == [40, 5, 5, 0]


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
