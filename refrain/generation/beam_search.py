"""Beam search: the likeliest reply as a whole, of several that grow side by side."""

from dataclasses import dataclass, field

import numpy as np

from refrain.generation.sampling import Logits, log_probabilities, top_indices
from refrain.runtime.loading import Session


@dataclass(order=True)
class Beam:
    """A reply so far, and the logarithm of its chance."""

    score: float
    ids: list[int] = field(compare=False)


def beam_search(
    lm: Session, prompt: list[int], limit: int, ends: frozenset[int], width: int, power: float
) -> list[Beam]:
    """The best `width` replies, falling by log-probability / length ** power, none with its end token.

    As Hugging Face's `num_beams` with `early_stopping=True`: a beam that ends among the best `width` candidates leaves,
    and the search ends with the `width`-th of them, or with the limit, where all of the best have ended.
    """
    slots = lm.allocate_slots(width)
    logits = slots.prefill(0, np.array(prompt, dtype=np.int64))
    live, done = [Beam(0.0, [])], list[Beam]()
    for length in range(1, limit + 1):
        found = candidates(live, logits, width * max(2, 1 + len(ends)))  # so many that `width` of them go on
        for _, beam in found[:width]:
            if (ended := beam.ids[-1] in ends) or length == limit:
                done.append(Beam(beam.score / length**power, beam.ids[:-1] if ended else beam.ids))
        if len(done) >= width or length == limit:
            break
        going = [(row, beam) for row, beam in found if beam.ids[-1] not in ends][:width]
        live = [beam for _, beam in going]
        slots.reorder([row for row, _ in going])
        logits = slots.decode(np.array([beam.ids[-1] for beam in live], dtype=np.int64))
    return sorted(done, reverse=True)[:width]


def candidates(live: list[Beam], logits: Logits, count: int) -> list[tuple[int, Beam]]:
    """The likeliest continuations of all beams, falling, each with the row that it goes on from."""
    chances = np.concatenate([log_probabilities(own) + beam.score for own, beam in zip(logits, live, strict=True)])
    best, size = top_indices(chances, count), logits.shape[1]
    falling = best[np.argsort(-chances[best], kind="stable")]
    return [(int(at) // size, Beam(float(chances[at]), [*live[at // size].ids, int(at) % size])) for at in falling]
