"""Made-up rows with the answers of two models, to draw test sets from; the scores over all of them are the truth."""

import random
from dataclasses import dataclass, replace

import numpy as np

from refrain.evaluation.row_statistics import TEXT_METRICS, RowStatistics, text_statistics

WORDS = [f"word{number}" for number in range(60)]
Pair = tuple[RowStatistics, RowStatistics]


@dataclass(frozen=True)
class AnswerPool:
    """By score: the statistics of all rows, of A and of B."""

    statistics: dict[str, Pair]

    def draw(self, rows: int, rng: np.random.Generator, is_fair: bool = False) -> dict[str, Pair]:
        """A test set; where it is fair, a coin decides for each row which answer is A's, so that neither is better."""
        size = len(next(iter(self.statistics.values()))[0].rows)
        drawn, swapped = rng.integers(0, size, rows), rng.integers(2, size=(rows, 1)) * is_fair
        return {name: choose(pair, drawn, swapped) for name, pair in self.statistics.items()}

    def difference(self, metric: str) -> float:
        """Of B above A, over all rows."""
        a, b = self.statistics[metric]
        return b.value - a.value


def choose(pair: Pair, drawn: np.ndarray, swapped: np.ndarray) -> Pair:
    """The drawn rows of both, some of them exchanged."""
    a, b = pair[0].rows[drawn], pair[1].rows[drawn]
    return replace(pair[0], rows=np.where(swapped, b, a)), replace(pair[1], rows=np.where(swapped, a, b))


def make_pool(skill: float, changed: float, gain: float, size: int = 500, metrics=TEXT_METRICS) -> AnswerPool:  # type: ignore[no-untyped-def]
    """A has `skill` of the rows right, B answers `changed` of them in another way, and `gain` of those right."""
    rng = random.Random(1)
    references = [rng.choices(WORDS, k=rng.randint(4, 20)) for _ in range(size)]
    first = [text if rng.random() < skill else spoil(text, rng) for text in references]
    second = [
        said if rng.random() >= changed else (text if rng.random() < gain else spoil(text, rng))
        for said, text in zip(first, references, strict=True)
    ]
    a, b, right = ([" ".join(words) for words in texts] for texts in (first, second, references))
    return AnswerPool({name: (text_statistics(name, a, right), text_statistics(name, b, right)) for name in metrics})


def spoil(words: list[str], rng: random.Random) -> list[str]:
    """The text with some of its words replaced, from few to nearly all."""
    kept = rng.random()
    return [word if rng.random() < kept else rng.choice(WORDS) for word in words]
