"""Strings to numbers: how close predictions come to their references."""

import math
from collections import Counter
from collections.abc import Sequence

import sacrebleu
from rouge_score import rouge_scorer

from refrain.evaluation.segmentation import space_out, word_pair

ROUGES = ("rouge1", "rouge2", "rougeL")
ROW_METRICS = ("exact_match", "token_f1", *ROUGES)  # means over rows


def score_texts(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """exact_match, token_f1, rouge1, rouge2, rougeL as means from 0 to 1; bleu from 0 to 100 as sacrebleu gives it."""
    means = {name: mean(score_rows(name, predictions, references)) for name in ROW_METRICS}
    return {**means, "bleu": bleu(predictions, references) if predictions else 0.0}


def score_rows(metric: str, predictions: Sequence[str], references: Sequence[str]) -> list[float]:
    """One of ROW_METRICS of each row, from 0 to 1; ROUGE as F-measures."""
    pairs = zip(predictions, references, strict=True)
    if metric == "exact_match":
        return [float(prediction.strip() == reference.strip()) for prediction, reference in pairs]
    if metric == "token_f1":
        return [token_f1(prediction, reference) for prediction, reference in pairs]
    scorer = rouge_scorer.RougeScorer([metric], tokenizer=RougeTokenizer())
    words = [word_pair(prediction, reference) for prediction, reference in pairs]
    scores = [scorer.score("\n".join(expected), "\n".join(predicted)) for predicted, expected in words]
    return [float(score[metric].fmeasure) for score in scores]


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
