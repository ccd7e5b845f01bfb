"""From logits to the next token, on plain arrays."""

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]
Chances = NDArray[np.float64]


def choose(logits: Logits, rng: np.random.Generator, temperature: float, top_k: int, top_p: float) -> int:
    """The next id; temperature 0 takes the likeliest, top_k 0 and top_p 1.0 leave out none."""
    if temperature == 0:
        return int(logits.argmax())
    chances = softmax(logits, temperature)
    ids = likeliest(chances, top_k, top_p)
    return int(rng.choice(ids, p=chances[ids] / chances[ids].sum()))


def softmax(logits: Logits, temperature: float) -> Chances:
    """Probabilities that stay finite at any temperature above 0."""
    shifted = logits.astype(np.float64) - logits.max()  # before the division: no inf can come of it
    with np.errstate(over="ignore"):
        weights = np.exp(shifted / temperature)
    return np.asarray(weights / weights.sum())


def likeliest(chances: Chances, top_k: int, top_p: float) -> NDArray[np.intp]:
    """At most top_k ids, and no more of them than reach top_p; of equal ones the lower ids."""
    falling = np.sort(chances)[::-1][: top_k or None]
    mass = np.cumsum(falling)
    last = np.searchsorted(mass, top_p * mass[-1])
    above, level = np.flatnonzero(chances > falling[last]), np.flatnonzero(chances == falling[last])
    return np.concatenate([above, level[: last + 1 - len(above)]])


def check(temperature: float, top_k: int, top_p: float) -> None:
    """ValueError for values that `choose` has no meaning for."""
    if not 0 <= temperature < np.inf:
        raise ValueError(f"temperature: {temperature} is out of range; give 0, the likeliest token, or more")
    if top_k < 0:
        raise ValueError(f"top_k: {top_k} is negative; give how many tokens to choose from, 0 for all")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p: {top_p} is out of range; give more than 0, and at most 1.0 for all tokens")
