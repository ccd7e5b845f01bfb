"""Any language model against the test rows: what it says, and how likely it finds what it should have said."""

import logging
from typing import TypedDict

import numpy as np

from refrain import chat, decoding, metrics
from refrain.chat import IGNORE, Chat
from refrain.config import Evaluate
from refrain.decoding import LanguageModel
from refrain.records import Row

log = logging.getLogger(__name__)


class Prediction(TypedDict):
    id: str
    question: str  # the last thing the user said
    prediction: str
    reference: str


def score(
    lm: LanguageModel, talk: Chat, rows: list[Row], settings: Evaluate
) -> tuple[dict[str, float], list[Prediction]]:
    """The metrics of a model on the first `max_rows` rows, and its greedy replies to their last prompts."""
    rows = rows[: settings.max_rows]
    replies = [reply for batch in batches(rows, settings.batch_size) for reply in answers(lm, talk, batch, settings)]
    predictions: list[Prediction] = [
        {
            "id": row["id"],
            "question": row["messages"][-2]["content"],
            "prediction": reply,
            "reference": row["messages"][-1]["content"],
        }
        for row, reply in zip(rows, replies, strict=True)
    ]
    scores = metrics.texts([p["prediction"] for p in predictions], [p["reference"] for p in predictions])
    return {**scores, "perplexity": perplexity(lm, talk, rows), "rows": len(rows)}, predictions


def batches(rows: list[Row], size: int) -> list[list[Row]]:
    return [rows[i : i + size] for i in range(0, len(rows), size)]


def answers(lm: LanguageModel, talk: Chat, rows: list[Row], settings: Evaluate) -> list[str]:
    """What the model says after everything but the last message of each row."""
    prompts = [chat.prompt(talk, row["messages"][:-1]) for row in rows]
    replies = decoding.greedy(lm, prompts, settings.max_new_tokens, talk.ends)
    return ["".join(decoding.text(iter(ids), talk.tokenizer, talk.stops)).strip() for ids in replies]


def perplexity(lm: LanguageModel, talk: Chat, rows: list[Row]) -> float:
    """Perplexity per supervised token: the assistant's words and end markers of whole conversations."""
    total, count = 0.0, 0
    for row in rows:
        example = chat.features(talk, row["messages"])
        ids = np.array([example["input_ids"]], dtype=np.int64)
        logits, _ = lm.forward(ids, np.ones_like(ids), None)
        labels = np.array(example["labels"])[1:]  # position t predicts token t+1
        at = np.flatnonzero(labels != IGNORE)
        total -= float(log_softmax(logits[0, at])[np.arange(len(at)), labels[at]].sum())
        count += len(at)
    return metrics.perplexity(total, count)


def log_softmax(logits: decoding.Logits) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Log-probabilities over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))
