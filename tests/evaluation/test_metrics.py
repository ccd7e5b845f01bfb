import math

import pytest
import sacrebleu
from rouge_score import rouge_scorer

from refrain.evaluation import metrics

NAMES = {"exact_match", "token_f1", "bleu", "rouge1", "rouge2", "rougeL"}


def one(prediction, reference):
    return metrics.score_texts([prediction], [reference])


@pytest.mark.parametrize("prediction, reference, score", [
    ("the cat", "the cat sat", 2 * 1 * (2 / 3) / (1 + 2 / 3)),
    ("the the the", "the cat", 2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2)),
    ("The, CAT!", "the cat", 1),
    ("dog", "cat", 0),
    ("", "cat", 0),
    ("cat", "", 0),
    ("", "...", 0),
    ("não é", "nao e", 0),
    ("Água limpa", "água suja", 1 / 2),
])  # fmt: skip
def test_token_f1_is_the_harmonic_mean_over_words(prediction, reference, score):
    assert metrics.token_f1(prediction, reference) == pytest.approx(score)


def test_rouge_l_counts_the_longest_common_subsequence():
    scores = one("the cat on the mat", "the fat cat sat on the mat")
    assert scores["rougeL"] == pytest.approx(2 * 1 * (5 / 7) / (1 + 5 / 7))
    assert scores["rouge1"] == pytest.approx(10 / 12)
    assert scores["rouge2"] == pytest.approx(2 * 2 / (4 + 6)), "on the, the mat"


@pytest.mark.parametrize("prediction, reference", [
    ("A 2-litre bottle, don't!", "the 2 litre bottles don't leak"),
    ("snake_case is not CamelCase", "CamelCase is not snake case"),
    ("one two three four", "four three two one"),
    ("", "something"),
])  # fmt: skip
def test_for_ascii_rouge_is_that_of_rouge_score(prediction, reference):
    theirs = rouge_scorer.RougeScorer(list(metrics.ROUGES)).score(reference, prediction)
    ours = one(prediction, reference)
    assert {name: ours[name] for name in theirs} == {name: pytest.approx(s.fmeasure) for name, s in theirs.items()}


def test_letters_with_accents_and_of_any_script_are_words():
    assert one("Ёлка, Água!", "ёлка água")["token_f1"] == 1
    assert one("a poluição da água", "a poluição da água")["rougeL"] == 1
    assert one("não", "nao")["rougeL"] == 0


def test_the_same_words_score_full_marks():
    said = ["a poluição da água não é boa 🙂", "the cat sat on the mat"]
    full = dict.fromkeys(NAMES, 1.0) | {"bleu": 100.0}
    assert metrics.score_texts(said, said) == pytest.approx(full)


@pytest.mark.parametrize("prediction, reference, score", [
    ("दिन", "दान", 0),
    ("+", "-", 0),
    ("👍", "👎", 0),
    ("yes 👍", "yes 👎", 1 / 2),
    ("今天天气很好", "今天天气不好", 5 / 6),
    ("วันนี้อากาศดี", "วันนี้อากาศร้อน", 16 / 20),
    ("وَلَد", "بنت", 0),
    ("2 + 2", "2 - 2", 1),
    ("+ 2", "+", 2 / 3),
    ("\uff21\uff22\uff23\uff11", "abc1", 1),
    ("cafe\u0301", "café", 1),
])  # fmt: skip
def test_every_script_is_compared(prediction, reference, score):
    scores = one(prediction, reference)
    assert [scores["token_f1"], scores["rouge1"]] == pytest.approx([score, score])
    assert (scores["rougeL"] > 0) == (scores["token_f1"] > 0)


def test_bleu_of_chinese_is_that_of_sacrebleus_own_tokenizer():
    said, meant = "今天天气很好\uff0c我们去公园走走吧。", "今天天气不好\uff0c我们去公园看看吧。"
    assert one(said, meant)["bleu"] == pytest.approx(sacrebleu.corpus_bleu([said], [[meant]], tokenize="zh").score)
    assert one(said, meant)["bleu"] > 30


@pytest.mark.parametrize("said, meant", [
    ("A 2-litre bottle, don't!", "the 2-litre bottle: don't leak & <b>"),
    ("a poluição da água não é boa", "a poluição do mar não é boa"),
    ("यह एक अच्छा दिन है और", "यह एक अच्छा दान है और"),
])  # fmt: skip
def test_bleu_of_scripts_with_blanks_is_that_of_13a(said, meant):
    assert one(said, meant)["bleu"] == pytest.approx(sacrebleu.corpus_bleu([said], [[meant]]).score)


def test_an_exact_match_overlooks_blanks_around_but_nothing_else():
    assert metrics.score_texts([" yes\n", "Yes", "no"], ["yes", "yes", "no "])["exact_match"] == pytest.approx(2 / 3)


def test_scores_are_means_over_the_pairs():
    assert metrics.score_texts(["cat", "dog"], ["cat", "cat"])["token_f1"] == 0.5


def test_nothing_said_scores_nothing():
    assert one("", "the cat sat on the mat") == dict.fromkeys(NAMES, 0.0)
    assert metrics.score_texts([], []) == dict.fromkeys(NAMES, 0.0)


def test_predictions_without_a_reference_are_refused():
    with pytest.raises(ValueError):
        metrics.score_texts(["a", "b"], ["a"])


def test_the_perplexity_of_a_guess_is_the_size_of_the_vocabulary():
    assert metrics.perplexity(7 * math.log(320), 7) == pytest.approx(320)
    assert metrics.perplexity(0.0, 7) == 1
    assert math.isnan(metrics.perplexity(0.0, 0))
