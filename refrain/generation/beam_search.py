"""Beam search: the likeliest reply as a whole, of several that grow side by side."""

from dataclasses import dataclass, field

import numpy as np

from refrain.generation.sampling import log_probabilities, top_indices
from refrain.runtime.language_model import Logits
from refrain.runtime.loading import Session


@dataclass(order=True)
class Beam:
    """A reply so far, and its log-probability."""

    score: float
    ids: list[int] = field(compare=False)


def beam_search(
    lm: Session, prompt: list[int], max_new_tokens: int, stop_ids: frozenset[int], num_beams: int, length_penalty: float
) -> list[Beam]:
    """The best `num_beams` replies, falling by log-probability / length ** length_penalty, none with its end token.

    As Hugging Face's `num_beams` with `early_stopping=True`: a beam that ends among the best
    `num_beams` candidates leaves, and the search ends with the last of so many, or with the limit, where all of the
    best have ended.
    """
    slots = lm.allocate_slots(num_beams)
    logits = slots.prefill(0, np.array(prompt, dtype=np.int64))
    beams, finished = [Beam(0.0, [])], list[Beam]()
    for length in range(1, max_new_tokens + 1):
        ranked = candidates(beams, logits, num_beams * max(2, 1 + len(stop_ids)))  # enough go on
        for _, beam in ranked[:num_beams]:
            if (has_ended := beam.ids[-1] in stop_ids) or length == max_new_tokens:
                finished.append(Beam(beam.score / length**length_penalty, beam.ids[:-1] if has_ended else beam.ids))
        if len(finished) >= num_beams or length == max_new_tokens:
            break
        continuing = [(slot, beam) for slot, beam in ranked if beam.ids[-1] not in stop_ids][:num_beams]
        beams = [beam for _, beam in continuing]
        slots.reorder([slot for slot, _ in continuing])
        logits = slots.decode(np.array([beam.ids[-1] for beam in beams], dtype=np.int64))
    return sorted(finished, reverse=True)[:num_beams]


def candidates(beams: list[Beam], logits: Logits, count: int) -> list[tuple[int, Beam]]:
    """The likeliest continuations of all beams, falling, each with the slot that it goes on from."""
    scores = np.concatenate([log_probabilities(own) + beam.score for own, beam in zip(logits, beams, strict=True)])
    best, vocab_size = top_indices(scores, count), logits.shape[1]
    falling = best[np.argsort(-scores[best], kind="stable")]
    result = []
    for index in map(int, falling):
        slot, token = divmod(index, vocab_size)
        result.append((slot, Beam(float(scores[index]), [*beams[slot].ids, token])))
    return result
