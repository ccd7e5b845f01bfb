import numpy as np
import pytest

from refrain.experiments.comparison.repetitions import (
    Repetitions,
    judge_difference,
    spread_factors,
    spread_of_difference,
)
from refrain.experiments.comparison.repetitions_report import name_group

ROWS, TRIALS = 60, 1500


def simulate(rng, seeds, effect, seed_spread=0.05, same_seeds=False):
    """Whether a difference is found between two settings whose scores vary by row, by seed and by both."""
    hardness = rng.normal(0, 0.3, (2, 1, ROWS)) + rng.normal(0, 0.3, (1, 1, ROWS))
    luck = rng.normal(0, seed_spread, (2, seeds, 1))
    scores = hardness + luck + rng.normal(0, 0.2, (2, seeds, ROWS))
    scores[1] += effect
    starts = (0, 0 if same_seeds else 100)
    before, after = (dict(enumerate(each.mean(axis=1), start)) for each, start in zip(scores, starts, strict=True))
    gain = scores[1].mean(axis=0) - scores[0].mean(axis=0)
    parts = (np.var(gain, ddof=1) / ROWS, ROWS - 1), spread_of_difference(after, before)
    return judge_difference(gain.mean(), *parts)[1] < 0.05


@pytest.mark.parametrize("same_seeds", [True, False])
@pytest.mark.parametrize(("seeds", "seed_spread"), [(2, 0.0), (3, 0.05), (3, 0.5), (10, 0.05)])
def test_luck_is_called_better_or_worse_at_most_five_times_of_a_hundred(seeds, seed_spread, same_seeds):
    rng = np.random.default_rng(7)
    found = [simulate(rng, seeds, 0.0, seed_spread, same_seeds) for _ in range(TRIALS)]
    assert np.mean(found) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / TRIALS)


def test_more_seeds_find_what_three_cannot():
    rng = np.random.default_rng(7)
    found = {seeds: np.mean([simulate(rng, seeds, 0.3, 0.2) for _ in range(300)]) for seeds in (3, 10)}
    assert found[3] < 0.5 < 0.6 < found[10]


def test_equal_scores_are_no_difference_and_the_spread_of_three_is_hardly_known():
    assert judge_difference(0.0, (0.0, 9), (0.0, 2))[1:] == (1.0, 0.0)
    assert judge_difference(0.1, (0.0, 9), (0.0, 2))[1:] == (0.0, 0.0)
    assert spread_factors(3) == pytest.approx((0.52, 6.28), abs=0.01)


def test_a_configuration_is_named_by_its_settings_unless_they_are_many():
    assert name_group(Repetitions({}, {})) == "the one configuration"
    few = {"train.lr": 0.1, "method.adapter": None, "gguf.types": ["q8_0"]}
    assert name_group(Repetitions(few, {})) == "train.lr=0.1, method.adapter=null, gguf.types=[q8_0]"
    named = name_group(Repetitions({f"key{i}": "word " * 30 for i in range(9)}, {}))
    assert named.endswith('key5="word word word word word word [...], and 3 more settings')
