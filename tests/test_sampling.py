import numpy as np
import pytest

from refrain import sampling

LOGITS = np.log(np.array([0.15, 0.5, 0.05, 0.3], dtype=np.float32))


def drawn(logits=LOGITS, temperature=1.0, top_k=0, top_p=1.0, times=400, seed=0):
    """The ids of many draws."""
    rng = np.random.default_rng(seed)
    return [sampling.choose(logits, rng, temperature, top_k, top_p) for _ in range(times)]


def test_temperature_zero_takes_the_likeliest():
    assert set(drawn(temperature=0, times=9)) == {1}


def test_of_equally_likely_ids_the_lower_one_is_taken():
    level = np.array([0.0, 2.0, 2.0, 2.0], dtype=np.float32)
    assert drawn(level, temperature=0, times=1) == [1]
    assert set(drawn(level, top_k=2)) == {1, 2}


def test_top_k_of_one_takes_the_likeliest_at_any_temperature():
    assert set(drawn(temperature=50.0, top_k=1)) == {1}


def test_top_k_leaves_only_the_k_likeliest():
    assert set(drawn(top_k=3)) == {0, 1, 3}


@pytest.mark.parametrize("top_p, kept", [
    (0.01, {1}), (0.49, {1}), (0.51, {1, 3}), (0.79, {1, 3}), (0.81, {0, 1, 3}),
])  # fmt: skip
def test_top_p_keeps_the_smallest_set_that_reaches_it(top_p, kept):
    assert set(drawn(top_p=top_p)) == kept


def test_top_p_is_a_share_of_what_top_k_left():
    assert set(drawn(top_k=2, top_p=0.62)) == {1}, "0.5 of 0.8 is enough"


def test_nothing_is_left_out_when_both_are_off():
    assert set(drawn(top_k=0, top_p=1.0)) == {0, 1, 2, 3}


def test_draws_follow_the_probabilities():
    shares = np.bincount(drawn(times=20_000), minlength=4) / 20_000
    assert shares == pytest.approx([0.15, 0.5, 0.05, 0.3], abs=0.015)


def test_a_low_temperature_prefers_the_likeliest():
    assert drawn(temperature=0.5).count(1) > drawn(temperature=2.0).count(1)


def test_the_same_seed_repeats_and_another_does_not():
    assert drawn(seed=7) == drawn(seed=7) != drawn(seed=8)


@pytest.mark.parametrize("temperature", [1e-320, 1e-9, 1e300])
def test_extreme_temperatures_and_logits_stay_finite(temperature):
    logits = np.array([-np.inf, 3e38, -3e38, 0.0], dtype=np.float32)
    assert 0 not in drawn(logits, temperature)


@pytest.mark.parametrize("values, name", [
    ((-1.0, 0, 1.0), "temperature"), ((np.nan, 0, 1.0), "temperature"), ((np.inf, 0, 1.0), "temperature"),
    ((1.0, -1, 1.0), "top_k"), ((1.0, 0, 0.0), "top_p"), ((1.0, 0, 1.1), "top_p"),
])  # fmt: skip
def test_meaningless_values_are_refused_by_name(values, name):
    with pytest.raises(ValueError, match=f"^{name}: .*; give "):
        sampling.check(*values)


def test_meaningful_values_pass():
    assert sampling.check(0, 0, 1.0) is None and sampling.check(0.7, 40, 0.95) is None
