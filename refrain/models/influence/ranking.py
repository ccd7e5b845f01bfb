"""The training rows whose gradients agree best with that of an answer: all by their sketches, the best ones exactly.

The gradients of all rows are computed once for a training and kept; a question then costs its own gradient, one pass
over the sketches, and the gradients of the candidates that these name.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any

import numpy as np
import torch
from torch import Tensor

from refrain.chat.encoding import Features
from refrain.chat.records import Row
from refrain.models.influence import gradients, learned_rows, store
from refrain.models.influence.learned_rows import LearnedRows
from refrain.models.influence.origin import Origin
from refrain.models.influence.sketch import CountSketch
from refrain.models.influence.store import GradientStore
from refrain.pipeline import progress
from refrain.training.checkpoints import LIBRARIES, installed_version
from refrain.training.cpu import onednn, thread_invariance
from refrain.training.objectives import sft

log = logging.getLogger(__name__)
CANDIDATES = 64  # at least, of which exact gradients are computed
PER_WANTED = 4  # candidates for each row that is wanted
TRIAL_SECONDS = 2.0  # of work by which the whole is estimated


class TooLongError(ValueError):
    """The gradients of all rows would take longer than was allowed."""


@dataclass(frozen=True)
class InfluentialRow:
    """A row, and how well its gradient agrees with that of the answer."""

    row: Row
    cosine: float  # of the angle between both: 1 where they are the same but for their length
    dot: float  # how fast the answer's loss falls with a step along the row's own gradient


@dataclass(frozen=True)
class Influence:
    """What has shaped an answer most."""

    rows: list[InfluentialRow]
    num_rows: int  # that were compared
    num_weights: int  # of the gradients
    place: str  # of these weights


def rank_rows(origin: Origin, prompt_ids: Sequence[int], reply: str, limit: int, most_seconds: float) -> Influence:
    """So many rows of a training, the most influential first.

    ValueError where they cannot be traced; TooLongError where that would take longer than allowed, with an estimate.
    """
    learned = learned_rows.read_learned_rows(origin)
    question = learned_rows.encode_answer(learned.tokenizer, list(prompt_ids), reply)
    with onednn.onednn_products(learned.traced.model), thread_invariance.ordered_sums():
        return rank(learned, question, origin.key, limit, most_seconds)


def rank(learned: LearnedRows, question: Features, key: str, limit: int, most_seconds: float) -> Influence:
    """As `rank_rows`, of an open model."""
    sizes = learned.traced.sizes
    wanted = min(limit, len(learned.rows))
    asked = list(gradients.layer_gradients(learned.traced, partial(answer_loss, question), is_one_row=True))
    sketch = CountSketch(sizes, store.choose_width(len(learned.rows)))
    with store.open_store(store_key(key), sketch.width) as kept:
        order = kept.read_order() or fill_store(kept, learned, sketch, most_seconds)
        direction = sketch_of(sketch, asked)[0]
        near = kept.cosines((direction / direction.norm().clamp_min(1e-30)).numpy())
    count = min(len(order), max(CANDIDATES, PER_WANTED * wanted))
    candidates = sorted(order[place] for place in np.argsort(-near, kind="stable")[:count].tolist())
    exact = score_candidates(learned, asked, candidates)
    best = sorted(exact, key=lambda number: (-exact[number].cosine, number))[:wanted]
    return Influence([exact[number] for number in best], len(order), sum(sizes), learned.traced.place)


def store_key(key: str) -> str:
    """The name of a training, with the libraries by which its gradients are computed."""
    return "-".join([key, *(str(installed_version(name)) for name in LIBRARIES[:3])])


def answer_loss(question: Features, ask: Any) -> Tensor:
    """The negative log-likelihood of an answer."""
    return sft.loss(ask, [question], None)


def fill_store(kept: GradientStore, learned: LearnedRows, sketch: CountSketch, most_seconds: float) -> list[int]:
    """Compute what the store does not have yet, and give the order of the rows in it.

    Passes are the same each time, so that where somebody has stopped this goes on.
    """
    passes = learned.make_passes()
    ends = np.cumsum([len(rows) for rows in passes]).tolist()
    first = sum(end <= len(kept) for end in ends)
    kept.truncate(ends[first - 1] if first else 0)
    counts = learned.token_counts()
    tokens = [sum(counts[row] for row in rows) for rows in passes]
    began = monotonic()
    with progress.open_bar("rows", len(learned.rows), "gradients", done=len(kept)) as bar:
        for number in range(first, len(passes)):
            kept.append(*sketch_rows(sketch, learned, passes[number]))
            bar.update(len(passes[number]))
            spent = monotonic() - began
            left = spent * sum(tokens[number + 1 :]) / sum(tokens[first : number + 1])
            if spent > TRIAL_SECONDS and spent + left > most_seconds:
                raise TooLongError(describe_cost(len(learned.rows) - len(kept), left))
    order = [row for rows in passes for row in rows]
    kept.write_order(order)
    return order


def describe_cost(rows: int, seconds: float) -> str:
    """What is left to do, once."""
    minutes = max(1, round(seconds / 60))
    return (f"the gradients of {rows:,} more rows would take about {minutes:,} min on this machine, once for this "
            f"model; `refrain trace --max-minutes {2 * minutes}` does it")  # fmt: skip


def sketch_rows(sketch: CountSketch, learned: LearnedRows, rows: list[int]) -> tuple[Any, Any]:
    """The norms of the gradients of a pass and their sketches, as arrays."""
    squares, sketches = torch.zeros(len(rows), dtype=torch.float64), sketch.empty(len(rows))
    for part, values in enumerate(learned.gradients(rows)):
        sketch.add(sketches, part, values)
        squares += values.double().square().sum(1)
    return squares.sqrt().float().numpy(), sketches.numpy()


def sketch_of(sketch: CountSketch, parts: list[Tensor]) -> Tensor:
    """The sketch of one gradient [1, width]."""
    sketches = sketch.empty(1)
    for part, values in enumerate(parts):
        sketch.add(sketches, part, values)
    return sketches


def score_candidates(learned: LearnedRows, asked: list[Tensor], rows: list[int]) -> dict[int, InfluentialRow]:
    """Each row by its whole gradient, computed alone: the same whichever others are candidates."""
    norm = float(sum(part.double().square().sum() for part in asked)) ** 0.5
    result = {}
    for number in rows:
        dot = square = 0.0
        for part, values in zip(asked, learned.gradients([number]), strict=True):
            dot += float((part.double() * values.double()).sum())
            square += float(values.double().square().sum())
        cosine = dot / max(norm * square**0.5, 1e-30)
        result[number] = InfluentialRow(learned.rows[number], cosine, dot)
    return result
