"""Counts that add up give the score that sacrebleu gives of the texts."""

import pytest

from refrain.evaluation import corpus_bleu, metrics

ROWS = [
    ("The frost came early .", "The frost came early this year ."),
    ("", "Nothing was said"),
    ("rain", "rain"),
    ("雨が降る 🌧", "雨が降った 🌧"),
    ("a fog over the river in the night", "fog over the river at night"),
    ("no word of it", "silence"),
]


@pytest.mark.parametrize("numbers", [[0], [1], [2], [3], [5], [0, 1], [2, 3], [0, 4], [5, 1, 2], range(6)])
def test_summed_counts_have_the_bleu_of_the_corpus(numbers):
    texts = [ROWS[i][0] for i in numbers], [ROWS[i][1] for i in numbers]
    counts = corpus_bleu.count_ngrams(*texts).sum(axis=0)
    assert float(corpus_bleu.score_counts(counts)) == pytest.approx(metrics.bleu(*texts), abs=1e-9)
