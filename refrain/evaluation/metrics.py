"""Strings to numbers: how close predictions come to their references."""

import math
from collections import Counter
from collections.abc import Sequence

import sacrebleu
from rouge_score import rouge_scorer

from refrain.evaluation.segmentation import space_out, word_pair

ROUGES = ("rouge1", "rouge2", "rougeL")


def score_texts(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """exact_match, token_f1, rouge1, rouge2, rougeL as means from 0 to 1; bleu from 0 to 100 as sacrebleu gives it."""
    pairs = list(zip(predictions, references, strict=True))
    rouge = rouge_of_rows(predictions, references)
    return {
        "exact_match": mean([float(prediction.strip() == reference.strip()) for prediction, reference in pairs]),
        "token_f1": mean([token_f1(prediction, reference) for prediction, reference in pairs]),
        "bleu": bleu(predictions, references) if pairs else 0.0,
        **{name: mean([score[name] for score in rouge]) for name in ROUGES},
    }


def rouge_of_rows(predictions: Sequence[str], references: Sequence[str]) -> list[dict[str, float]]:
    """rouge1, rouge2 and rougeL of each prediction, as F-measures."""
    scorer = rouge_scorer.RougeScorer(list(ROUGES), tokenizer=RougeTokenizer())
    pairs = [word_pair(prediction, reference) for prediction, reference in zip(predictions, references, strict=True)]
    scores = [scorer.score("\n".join(expected), "\n".join(predicted)) for predicted, expected in pairs]
    return [{name: score[name].fmeasure for name in ROUGES} for score in scores]


def token_f1(prediction: str, reference: str) -> float:
    """Harmonic mean of precision and recall of the words, each counted as often as it occurs (arXiv:1606.05250)."""
    predicted, expected = word_pair(prediction, reference)
    if not predicted or not expected:
        return float(predicted == expected)
    overlap = sum((Counter(predicted) & Counter(expected)).values())
    return 2 * overlap / (len(predicted) + len(expected))


def bleu(predictions: Sequence[str], references: Sequence[str]) -> float:
    """sacrebleu's, with its tokenizer 13a; characters that count as words stand alone, as its tokenizer zh has it."""
    spaced_predictions, spaced_references = (list(map(space_out, texts)) for texts in (predictions, references))
    return float(sacrebleu.corpus_bleu(spaced_predictions, [spaced_references]).score)


def perplexity(negative_log_likelihood: float, tokens: int) -> float:
    """The exponential of the mean negative log-likelihood of a token, in nats."""
    return math.exp(negative_log_likelihood / tokens) if tokens else math.nan


def mean(values: Sequence[float]) -> float:
    """0 where there is nothing to count."""
    return math.fsum(values) / len(values) if values else 0.0


class RougeTokenizer:
    """Words that are found already, one a line; rouge-score's own tokenizer drops every letter beyond a to z."""

    def tokenize(self, text: str) -> list[str]:
        """The lines of a text."""
        return text.split("\n") if text else []
