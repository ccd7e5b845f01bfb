"""Strings to numbers: how close predictions come to their references."""

import math
import re
from collections import Counter
from collections.abc import Sequence

import sacrebleu
from rouge_score import rouge_scorer

ROUGES = ("rouge1", "rouge2", "rougeL")


def score_texts(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """exact_match, token_f1, rouge1, rouge2, rougeL as means from 0 to 1; bleu from 0 to 100 as sacrebleu gives it."""
    pairs = list(zip(predictions, references, strict=True))
    scorer = rouge_scorer.RougeScorer(list(ROUGES), tokenizer=RougeTokenizer())
    rouge = [scorer.score(reference, prediction) for prediction, reference in pairs]
    return {
        "exact_match": mean([float(prediction.strip() == reference.strip()) for prediction, reference in pairs]),
        "token_f1": mean([token_f1(prediction, reference) for prediction, reference in pairs]),
        "bleu": sacrebleu.corpus_bleu(list(predictions), [list(references)]).score if pairs else 0.0,
        **{name: mean([score[name].fmeasure for score in rouge]) for name in ROUGES},
    }


def token_f1(prediction: str, reference: str) -> float:
    """Harmonic mean of precision and recall of the words, each counted as often as it occurs (arXiv:1606.05250)."""
    predicted, expected = words(prediction), words(reference)
    if not predicted or not expected:
        return float(predicted == expected)
    overlap = sum((Counter(predicted) & Counter(expected)).values())
    return 2 * overlap / (len(predicted) + len(expected))


def perplexity(negative_log_likelihood: float, tokens: int) -> float:
    """The exponential of the mean negative log-likelihood of a token, in nats."""
    return math.exp(negative_log_likelihood / tokens) if tokens else math.nan


def words(text: str) -> list[str]:
    """Lower-case runs of letters and digits, of any script; for ASCII the words of rouge-score's own tokenizer."""
    return re.findall(r"[^\W_]+", text.lower())


def mean(values: Sequence[float]) -> float:
    """0 where there is nothing to count."""
    return math.fsum(values) / len(values) if values else 0.0


class RougeTokenizer:
    """`words` in the form that rouge-score asks for; its own drops every letter beyond a to z."""

    def tokenize(self, text: str) -> list[str]:
        """The words of a text."""
        return words(text)
