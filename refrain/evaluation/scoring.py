"""Any language model against the test rows: what it says, and how likely it finds what it should have said."""

import logging
import math
from collections.abc import Sequence
from itertools import takewhile
from time import monotonic
from typing import Any, TypedDict

import numpy as np

from refrain.chat import encoding
from refrain.chat.encoding import IGNORE_INDEX, ChatTokenizer
from refrain.chat.records import Row, is_text_alone
from refrain.evaluation import bootstrap, metrics, row_statistics
from refrain.evaluation.scores import INTERVALS, ROWS
from refrain.pipeline import progress
from refrain.pipeline.plurals import format_count
from refrain.runtime import detokenizer, language_model
from refrain.runtime.language_model import LanguageModel

log = logging.getLogger(__name__)

FILLING = 64  # tokens that a prompt may be filled up with, however short it is
PIECE = 64  # positions whose logits are held at once
LOSS_DIGITS = 4  # of a row's loss; beyond them, processors differ


class RowLoss(TypedDict, total=False):
    """Of the supervised tokens of a conversation; absent where it is no number, and in predictions of before it."""

    loss: float  # in nats
    tokens: int


class Prediction(RowLoss):
    id: str
    question: str  # the last thing the user said
    prediction: str
    reference: str


def rows_that_fit(tokenizer: ChatTokenizer, rows: list[Row], context: int, max_new_tokens: int) -> list[Row]:
    """The rows that a model sees at once, and whose prompts leave room for `max_new_tokens`; the others are counted."""
    sizes = [
        (
            len(encoding.encode_last_prompt(tokenizer, row)) + max_new_tokens,
            len(encoding.encode_conversation(tokenizer, row["messages"], row.get("tools"))["input_ids"]),
        )
        for row in rows
    ]
    fitting = [row for row, size in zip(rows, sizes, strict=True) if max(size) <= context]
    if len(fitting) < len(rows):
        log.warning("%d of %d rows do not fit into the %d tokens that the model sees", len(rows) - len(fitting),
                    len(rows), context)  # fmt: skip
    return fitting


def score_model(
    name: str, lm: LanguageModel, tokenizer: ChatTokenizer, rows: list[Row], max_new_tokens: int, batch_size: int
) -> tuple[dict[str, Any], list[Prediction]]:
    """The metrics of a model on the rows with their intervals, and its greedy replies to their last prompts."""
    start = monotonic()
    prompts = [encoding.encode_last_prompt(tokenizer, row) for row in rows]
    replies = [""] * len(rows)
    for numbers in progress.with_progress(batches_alike(prompts, batch_size), "rows", f"{name}: replies", len):
        batch = greedy_replies(lm, tokenizer, [prompts[number] for number in numbers], max_new_tokens)
        for number, reply in zip(numbers, batch, strict=True):
            replies[number] = reply
    losses = row_losses(lm, tokenizer, rows)
    predictions: list[Prediction] = [
        {
            "id": row["id"],
            "question": row["messages"][-2]["content"],
            "prediction": reply,
            "reference": reference_text(tokenizer, row),
            **describe_loss(*loss),
        }
        for row, reply, loss in zip(rows, replies, losses, strict=True)
    ]
    results = score_predictions(predictions, losses)
    log.info("%s: ROUGE-L %.3f, perplexity %.3f on %s, in %.1f s", name, results["rougeL"], results["perplexity"],
             format_count(len(rows), "row"), monotonic() - start)  # fmt: skip
    return results, predictions


def describe_loss(loss: float, tokens: int) -> RowLoss:
    """As it stands in a prediction, so that two models can be compared by it."""
    return {"loss": round(loss, LOSS_DIGITS), "tokens": tokens} if math.isfinite(loss) else {}


def score_predictions(predictions: Sequence[Prediction], losses: Sequence[tuple[float, int]]) -> dict[str, Any]:
    """What reports/metrics.json has of a model: its scores, the 95 % interval of each, and over how many rows."""
    texts = [row["prediction"] for row in predictions], [row["reference"] for row in predictions]
    statistics = {name: row_statistics.text_statistics(name, *texts) for name in row_statistics.TEXT_METRICS}
    statistics["perplexity"] = row_statistics.perplexity_statistics(losses)
    return {
        **metrics.score_texts(*texts),
        "perplexity": mean_perplexity(losses),
        ROWS: len(predictions),
        INTERVALS: bootstrap.score_intervals(statistics),
    }


def batches_alike(prompts: Sequence[list[int]], size: int) -> list[list[int]]:
    """The numbers of the prompts, up to `size` at a time, none of which is filled up to more than twice its length."""
    result: list[list[int]] = []
    for number in sorted(range(len(prompts)), key=lambda number: len(prompts[number])):
        width = len(prompts[number])
        if result and len(result[-1]) < size and width <= 2 * len(prompts[result[-1][0]]) + FILLING:
            result[-1].append(number)
        else:
            result.append([number])
    return result


def greedy_replies(
    lm: LanguageModel, tokenizer: ChatTokenizer, prompts: list[list[int]], max_new_tokens: int
) -> list[str]:
    """What the model says after each prompt, decoded as one batch."""
    replies = language_model.greedy_decode(lm, prompts, max_new_tokens, tokenizer.stop_ids)
    return [reply_text(tokenizer, ids) for ids in replies]


def reference_text(tokenizer: ChatTokenizer, row: Row) -> str:
    """What a reader sees of the last reply of a row; of one with calls or a thought, as the template writes it."""
    if is_text_alone(row["messages"][-1]):
        return row["messages"][-1]["content"]
    ids = encoding.encode_conversation(tokenizer, row["messages"], row.get("tools"))["input_ids"]
    reply = ids[len(encoding.encode_last_prompt(tokenizer, row)) :]
    return reply_text(tokenizer, list(takewhile(lambda token: token not in tokenizer.stop_ids, reply)))


def reply_text(tokenizer: ChatTokenizer, ids: list[int]) -> str:
    """What a reader sees of a reply."""
    return "".join(detokenizer.detokenize(ids, tokenizer.tokenizer, tokenizer.stop_strings)).strip()


def perplexity(lm: LanguageModel, tokenizer: ChatTokenizer, rows: list[Row]) -> float:
    """Perplexity per supervised token: the assistant's words and end markers of whole conversations."""
    return mean_perplexity(row_losses(lm, tokenizer, rows))


def mean_perplexity(losses: Sequence[tuple[float, int]]) -> float:
    """Of all tokens of rows."""
    return metrics.perplexity(sum(loss for loss, _ in losses), sum(count for _, count in losses))


def row_losses(lm: LanguageModel, tokenizer: ChatTokenizer, rows: list[Row]) -> list[tuple[float, int]]:
    """The negative log-likelihood of the supervised tokens of each row, and how many they are."""
    losses = []
    for row in progress.with_progress(rows, "rows", "perplexity"):
        example = encoding.encode_conversation(tokenizer, row["messages"], row.get("tools"))
        logprobs = label_logprobs(lm, example["input_ids"], example["labels"])
        losses.append((-math.fsum(logprobs), len(logprobs)))
    return losses


def label_logprobs(lm: LanguageModel, ids: list[int], labels: list[int]) -> list[float]:
    """Log-probability of each labelled token; logits are asked from the first of them on, a piece at a time."""
    logprobs: list[float] = []
    # position t predicts token t+1
    first = next((at for at, label in enumerate(labels[1:]) if label != IGNORE_INDEX), len(ids))
    fed, cache = 0, None
    for start in range(first, len(ids) - 1, PIECE):
        end = min(start + PIECE, len(ids) - 1)
        piece, mask = np.array([ids[fed:end]], dtype=np.int64), np.ones((1, end), dtype=np.int64)
        logits, cache = lm.forward(piece, mask, cache, end - start)
        fed = end
        for row, label in zip(logits[0], labels[start + 1 : end + 1], strict=True):
            if label != IGNORE_INDEX:
                logprobs.append(float(language_model.log_softmax(row)[label]))
    return logprobs
