"""Texts as numbers: the same for the same words, whatever stands around them."""

import random
import re

import numpy as np
import pytest

from refrain.data.splitting import shingles

WORD = re.compile(r"""\w+|[^\w\s.,;:!?'"\u2018-\u201f]""")  # what a word is, said the other way


def numbers(text):
    return shingles.hash_words([shingles.normalise_text(text)])[0].tolist()


@pytest.mark.parametrize("other", ["what is  FOG", "What\u00a0is\n'fog'?!", "\uff37hat is fog...", "What, is: fog;"])
def test_case_width_white_space_and_punctuation_make_no_difference(other):
    assert numbers("What is fog?") == numbers(other)


@pytest.mark.parametrize("one, other", [("5 + 3", "5 - 3"), ("na\u00efve", "naive"), ("a b", "ab"), ("#1", "1")])
def test_signs_accents_and_borders_of_words_do(one, other):
    assert numbers(one) != numbers(other)


@pytest.mark.parametrize("at_once", [shingles.BATCH_CHARACTERS, 40])
def test_every_word_of_every_text_has_its_number(monkeypatch, at_once):
    monkeypatch.setattr(shingles, "BATCH_CHARACTERS", at_once)
    rng = random.Random(0)
    pieces = "ab +.-_9\n\u201c\u2028\u00e9\u00df\u4e16\u754c\U0001f642\u0301\u0600\udcff"
    texts = [shingles.normalise_text("".join(rng.choices(pieces, k=rng.randint(0, 30)))) for _ in range(2000)]
    words, counts = shingles.hash_words(texts)
    expected = [WORD.findall(text) for text in texts]
    assert counts.tolist() == [len(listed) for listed in expected]
    known = {}
    for word, number in zip((word for listed in expected for word in listed), words.tolist(), strict=True):
        assert known.setdefault(word, number) == number
    assert len(set(known.values())) == len(known) > 500
    assert 0 not in words


def test_there_may_be_no_text_and_no_word():
    assert [each.tolist() for each in shingles.hash_words([])] == [[], []]
    assert [each.tolist() for each in shingles.hash_words(["", "?!", " "])] == [[], [0, 0, 0]]


def test_words_of_one_letter_are_told_apart():
    assert len(set(numbers(" ".join(map(chr, range(0x4E00, 0x5E00)))))) == 0x1000
    assert shingles.hash_words(["a"])[0].dtype == np.uint32


SPACES = [
    "",
    " ",
    "a b",
    "a  b",
    " a b",
    "a b ",
    "a\tb",
    "a\x1fb",
    "a\x01b",
    "a\u00a0b",
    "\u00e9  b",
    "a\n\nb",
    "\n",
    "a",
]


@pytest.mark.parametrize("texts", [[], [""], *([text] for text in SPACES), SPACES, SPACES[::-1]])
def test_white_space_is_one_blank_between_words(texts):
    assert shingles.fold_white_space(texts) == [" ".join(text.split()) for text in texts]


def test_what_is_folded_already_is_seen_to_be():
    assert shingles.have_loose_space(["a b", "", "a (b) c", "a  b", "c"]) == [False, False, False, True, False]
