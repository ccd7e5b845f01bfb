"""Swapping rows between two models finds what scipy and sacrebleu find, and counts ties where sacrebleu does not."""

import random

import numpy as np
import pytest
from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest
from scipy import stats

from refrain.evaluation import row_statistics
from refrain.experiments.comparison import randomisation

WORDS = ["fog", "rain", "frost", "over", "the", "river", "came", "early", "in", "a", "night", "went", "by", "noon"]


def swap(a, b):
    return randomisation.swap_test(row_statistics.mean_statistics(a), row_statistics.mean_statistics(b))


@pytest.mark.parametrize("differing", [2, 3, 7, 12])
def test_few_rows_that_differ_have_the_exact_p_value_of_scipy(differing):
    rng = np.random.default_rng(differing)
    a = rng.random(differing)
    b = a + rng.normal(0.2, 0.3, differing)
    theirs = stats.permutation_test((a - b,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    p_value, name = swap([*a, *[0.5] * 40], [*b, *[0.5] * 40])  # rows that are equal change nothing
    assert (p_value, name) == (pytest.approx(theirs), "permutation, exact")


def test_many_rows_that_differ_have_the_p_value_of_scipy_up_to_chance():
    rng = np.random.default_rng(5)
    a, b = rng.random(60), rng.random(60) + 0.1
    theirs = stats.permutation_test((a - b,), np.mean, permutation_type="samples", rng=rng).pvalue
    p_value, name = swap(a, b)
    assert name == "approximate randomisation" and 0.02 < p_value < 0.5
    assert p_value == pytest.approx(theirs, abs=4 * (theirs * (1 - theirs) * 2 / 9999) ** 0.5)


def sentences(count, seed, lost=0.0):
    """Texts of words, each of which is lost with some probability: the same texts for the same seed."""
    words, losses = random.Random(1), random.Random(seed)
    texts = [words.choices(WORDS, k=words.randint(6, 20)) for _ in range(count)]
    return [" ".join(word for word in text if losses.random() >= lost) for text in texts]


def test_bleu_has_the_p_value_of_sacrebleus_paired_test(monkeypatch):
    references, a, b = sentences(40, 1), sentences(40, 2, 0.1), sentences(40, 3, 0.13)
    monkeypatch.setenv("SACREBLEU_SEED", "3")
    theirs = PairedTest([("a", a), ("b", b)], {"BLEU": BLEU()}, [references], "ar", 9999)()[1]["BLEU"][1].p_value
    ours, _ = randomisation.swap_test(*(row_statistics.text_statistics("bleu", x, references) for x in (a, b)), seed=3)
    assert 0.02 < theirs < 0.9
    assert ours == pytest.approx(theirs, abs=0.02)


def test_sacrebleu_finds_a_model_better_than_itself_and_we_do_not():
    texts = sentences(20, 1)
    theirs = PairedTest([("a", texts), ("b", texts)], {"BLEU": BLEU()}, [texts], "ar")()[1]["BLEU"][1].p_value
    same = row_statistics.text_statistics("bleu", texts, texts)
    assert theirs < 0.001 and randomisation.swap_test(same, same) == (1.0, "permutation, exact")
