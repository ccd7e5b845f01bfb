"""Beam search: the likeliest reply as a whole, of several that grow side by side."""

from dataclasses import dataclass, field

import numpy as np

from refrain.runtime import Session
from refrain.sampling import log_probabilities


@dataclass(order=True)
class Beam:
    """A reply so far, and the logarithm of its chance."""

    score: float
    ids: list[int] = field(compare=False)


def search(lm: Session, prompt: list[int], limit: int, ends: frozenset[int], width: int, power: float) -> list[Beam]:
    """The best `width` replies, falling by log-probability / length ** power, none with its end token.

    As Hugging Face's `num_beams` with `early_stopping=True`: a beam that ends among the best `width` candidates leaves,
    and the search ends with the `width`-th of them, or when the limit is reached.
    """
    slots = lm.slots(width)
    logits = slots.feed(0, np.array(prompt, dtype=np.int64))
    live, done = [Beam(0.0, [])], []
    for row in range(1, width):
        slots.copy(0, row, len(prompt))
    for length in range(1, limit + 1):
        chances = np.concatenate([log_probabilities(own) + beam.score for own, beam in zip(logits, live, strict=True)])
        best = np.argsort(-chances, kind="stable")[: 2 * width]
        going: list[tuple[int, Beam]] = []
        for rank, at in enumerate(best):
            row, token = divmod(int(at), logits.shape[1])
            beam = Beam(float(chances[at]), [*live[row].ids, token])
            if token not in ends:
                going.append((row, beam))
            elif rank < width:
                done.append(Beam(beam.score / length**power, beam.ids[:-1]))
            if len(going) == width:
                break
        if len(done) >= width:
            break
        slots.arrange([row for row, _ in going])
        live = [beam for _, beam in going]
        if length < limit:
            logits = slots.step(np.array([beam.ids[-1] for beam in live], dtype=np.int64))
    done += [Beam(beam.score / limit**power, beam.ids) for beam in live if len(done) < width]
    return sorted(done, reverse=True)[:width]
