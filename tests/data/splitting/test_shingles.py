"""Runs of words: equal where the words are, and never across two texts."""

import numpy as np

from refrain.data.splitting import shingles


def flat(*texts):
    return np.array([ord(char) for char in "".join(texts)], np.uint32), np.array([len(text) for text in texts], int)


def test_each_word_has_a_run_around_it_and_texts_do_not_touch():
    words, lengths = flat("abc", "", "x", "bc")
    found = shingles.centred_shingles(words, lengths, 3)
    assert (len(found), len(set(found.tolist()))) == (6, 5)  # the end of "abc" is that of "bc"
    alone = np.concatenate([shingles.centred_shingles(*flat(text), 3) for text in ("abc", "x", "bc")])
    assert np.array_equal(found, alone)


def test_the_order_of_words_counts_in_a_run():
    assert shingles.all_shingles(flat("abc")[0], 3) != shingles.all_shingles(flat("bac")[0], 3)


def test_a_run_is_found_wherever_it_stands_and_only_within_a_text():
    wanted = shingles.all_shingles(flat("bcd")[0], 3)
    words, lengths = flat("a", "abcd", "bc", "d", "bcde")
    same = shingles.all_shingles(words, 3) == wanted
    assert np.flatnonzero(same).tolist() == [2, 5, 8]
    assert np.flatnonzero(same & shingles.within_one_text(lengths, 3)).tolist() == [2, 8]


def test_fewer_words_than_a_run_needs_are_none():
    assert not len(shingles.all_shingles(flat("ab")[0], 3))
    assert not len(shingles.within_one_text(flat("ab")[1], 3))
    assert not len(shingles.centred_shingles(*flat(), 3))


def test_sets_hold_each_run_once_in_order():
    hashes = np.array([5, 3, 5, 9, 9, 1], np.uint64) << np.uint64(32)
    found, counts = shingles.shingle_sets(np.array([0, 0, 0, 2, 2, 3]), hashes, 4)
    assert (found.tolist(), counts.tolist()) == ([3, 5, 9, 1], [2, 0, 1, 1])
