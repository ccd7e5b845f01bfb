import math
from dataclasses import fields, replace
from time import perf_counter

import numpy as np
import pytest
import torch
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from refrain.generation import sampling
from refrain.generation.sampling import Sampler, SamplingParams

CHANCES = np.array([0.15, 0.5, 0.05, 0.3])
LOGITS = np.log(CHANCES).astype(np.float32)
PLAIN = SamplingParams(temperature=1.0)
LARGE = np.random.default_rng(0).normal(0, 3, 150_000).astype(np.float32)


def draw_tokens(manner=PLAIN, logits=LOGITS, times=400):
    """What each of many replies begins with."""
    return [Sampler(replace(manner, seed=seed), []).sample(logits) for seed in range(times)]


def said(manner, logits=LOGITS, prompt=(), times=12):
    """A reply of a model that always says the same of what comes next."""
    sampler = Sampler(manner, prompt)
    return [sampler.sample(np.array(logits, dtype=np.float32)) for _ in range(times)]


class Only:
    """Lets through a few ids, and keeps what it has heard."""

    def __init__(self, *ids):
        self.ids, self.heard = list(ids), []

    def mask(self, logits):
        masked = np.full_like(logits, -np.inf)
        masked[self.ids] = logits[self.ids]
        return masked

    def draft_tokens(self):
        return []

    def advance(self, token):
        self.heard.append(token)


def test_the_defaults_take_the_likeliest():
    assert set(said(SamplingParams())) == {1}


@pytest.mark.parametrize("manner", [SamplingParams(), SamplingParams(presence_penalty=0.1)])
def test_of_equally_likely_ids_the_lowest_is_taken(manner):
    assert said(manner, [0, 2, 2, 2], times=1) == [1]


def test_top_k_and_top_p_take_the_lower_of_equally_likely_ids():
    level = np.array([0, 2, 2, 2], dtype=np.float32)
    assert set(draw_tokens(SamplingParams(temperature=1, top_k=2), level)) == {1, 2}
    assert set(draw_tokens(SamplingParams(temperature=1, top_p=0.5), level)) == {1, 2}


def test_top_k_of_one_takes_the_likeliest_at_any_temperature():
    assert set(draw_tokens(SamplingParams(temperature=50, top_k=1))) == {1}


@pytest.mark.parametrize("top_k, kept", [(0, {0, 1, 2, 3}), (2, {1, 3}), (3, {0, 1, 3}), (99, {0, 1, 2, 3})])
def test_top_k_leaves_only_the_k_likeliest(top_k, kept):
    assert set(draw_tokens(replace(PLAIN, top_k=top_k))) == kept


@pytest.mark.parametrize("top_p, kept", [
    (0.01, {1}), (0.49, {1}), (0.51, {1, 3}), (0.79, {1, 3}), (0.81, {0, 1, 3}), (1.0, {0, 1, 2, 3}),
])  # fmt: skip
def test_top_p_keeps_the_smallest_set_that_reaches_it(top_p, kept):
    assert set(draw_tokens(replace(PLAIN, top_p=top_p))) == kept


@pytest.mark.parametrize("number", [300, 1000, 1001, 5000])
@pytest.mark.parametrize("logit", [-1.2, -0.3, -5.0, -30.0])
def test_top_p_keeps_as_many_of_equal_ones_as_it_needs(number, logit):
    logits = np.array([0.0] + [logit] * number, dtype=np.float32)
    chances = np.exp(logits.astype(np.float64)) / np.exp(logits.astype(np.float64)).sum()
    for top_p in (0.3, 0.6, 0.9):
        last = sampling.sample_token(logits, 0.0, SamplingParams(temperature=1, top_p=top_p), 1 - 2**-53)
        assert last == np.searchsorted(np.cumsum(chances), top_p - 1e-9)


@pytest.mark.parametrize("min_p, kept", [(0.09, {0, 1, 2, 3}), (0.11, {0, 1, 3}), (0.31, {1, 3}), (1.0, {1})])
def test_min_p_is_a_share_of_the_likeliest_ones_chance(min_p, kept):
    assert set(draw_tokens(replace(PLAIN, min_p=min_p))) == kept


def test_top_p_is_a_share_of_what_top_k_left():
    assert set(draw_tokens(replace(PLAIN, top_k=2, top_p=0.62))) == {1}, "0.5 of 0.8 is enough"


def test_top_p_comes_before_min_p():
    # min_p first would leave 0.5 and 0.3, of which 0.5 is more than 0.6
    assert set(draw_tokens(replace(PLAIN, top_p=0.6, min_p=0.5))) == {1, 3}


def test_filters_see_what_temperature_has_made():
    assert set(draw_tokens(SamplingParams(temperature=0.5, top_p=0.6))) == {1}, "0.25 of 0.365 is 0.68"
    assert set(draw_tokens(SamplingParams(temperature=0.5, min_p=0.5))) == {1}, "0.6 squared is 0.36"


def test_draws_follow_the_chances():
    assert np.bincount(draw_tokens(times=20_000), minlength=4) / 20_000 == pytest.approx(CHANCES, abs=0.015)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature_is_a_root_of_the_chances(temperature):
    expected = CHANCES ** (1 / temperature) / (CHANCES ** (1 / temperature)).sum()
    shares = np.bincount(draw_tokens(SamplingParams(temperature=temperature), times=20_000), minlength=4) / 20_000
    assert shares == pytest.approx(expected, abs=0.015)


def test_the_same_seed_repeats_and_another_does_not():
    once, again, other = (said(SamplingParams(temperature=1, seed=seed), times=40) for seed in (7, 7, 8))
    assert once == again != other


def test_a_reply_is_the_same_alone_and_in_company():
    alone = said(SamplingParams(temperature=1, seed=3), times=40)
    samplers = [Sampler(SamplingParams(temperature=1, seed=seed), []) for seed in (1, 3, 3, 9)]
    together = [[sampler.sample(LOGITS) for sampler in samplers] for _ in range(40)]
    assert [row[1] for row in together] == [row[2] for row in together] == alone


def test_each_draw_uses_one_random_number_whatever_is_left_out():
    """So the n-th word of a reply hangs on the n-th number, and two manners can be compared."""
    numbers = np.random.Generator(np.random.PCG64(5)).random(60)
    everything = np.searchsorted(np.cumsum(CHANCES), numbers, side="right")
    assert said(SamplingParams(temperature=1, seed=5), times=60) == everything.tolist()
    two = np.where(numbers < 0.5 / 0.8, 1, 3)
    assert said(SamplingParams(temperature=1, seed=5, top_k=2), times=60) == two.tolist()
    sampler = Sampler(SamplingParams(temperature=1, seed=5), [])
    mixed = [sampler.sample(LOGITS if i % 2 else Only(2).mask(LOGITS)) for i in range(60)]
    assert mixed[1::2] == everything[1::2].tolist()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("temperature", [1e-320, 1e-9, 1.0, 1e300])
def test_extreme_temperatures_and_logits_stay_finite(temperature):
    logits = np.array([-np.inf, 3e38, -3e38, 0.0], dtype=np.float32)
    assert 0 not in draw_tokens(SamplingParams(temperature=temperature), logits)


@pytest.mark.parametrize("first", [-np.inf, 0.0])
def test_an_impossible_token_is_never_drawn(first):
    logits = np.array([first, -np.inf, 0.0, -np.inf], dtype=np.float32)
    assert set(draw_tokens(SamplingParams(temperature=9, top_k=3), logits)) == {2} | ({0} if first == 0 else set())


@pytest.mark.parametrize("temperature", [0, 1])
@pytest.mark.parametrize("logits", [[-np.inf] * 3, [0, np.nan, 1], [0, np.inf, 1]])
def test_logits_without_a_meaning_are_refused(temperature, logits):
    with pytest.raises(ValueError, match="the model may be broken"):
        said(SamplingParams(temperature=temperature), logits)


@pytest.mark.parametrize("manner", [
    SamplingParams(temperature=2, top_p=0.9), SamplingParams(temperature=0.7, top_p=0.999, top_k=999),
    SamplingParams(temperature=1, min_p=0.05), SamplingParams(temperature=1.5, top_k=3000, min_p=1e-3),
])  # fmt: skip
def test_what_is_left_of_a_large_vocabulary_is_what_transformers_leaves(manner):
    scores = TemperatureLogitsWarper(float(manner.temperature))(None, torch.tensor(LARGE)[None])
    scores = TopKLogitsWarper(manner.top_k)(None, scores) if manner.top_k else scores
    scores = TopPLogitsWarper(manner.top_p)(None, scores) if manner.top_p < 1 else scores
    scores = MinPLogitsWarper(manner.min_p)(None, scores) if manner.min_p else scores
    theirs = np.flatnonzero(scores[0] > -np.inf)
    sampler = Sampler(manner, [])
    ours = {sampler.sample(LARGE) for _ in range(60)}
    assert 1 < len(theirs) < len(LARGE) and ours <= set(theirs.tolist())
    edges = np.array([sampling.sample_token(LARGE, LARGE.max(), manner, chance) for chance in (0.0, 1 - 2**-53)])
    assert edges.tolist() == [theirs[0], theirs[-1]], "the first and the last of those that are left"


@pytest.mark.parametrize("values", [LARGE, LARGE[:1023], np.round(LARGE), np.zeros(9000, dtype=np.float32)])
@pytest.mark.parametrize("count", [1, 7, 500, 1023])
def test_the_highest_of_many_are_those_that_a_stable_sort_puts_first(values, count):
    assert sampling.top_indices(values, count).tolist() == sorted(np.argsort(-values, kind="stable")[:count].tolist())


@pytest.mark.parametrize("size", [1, 255, 256, 257, 5000])
def test_a_share_of_the_sum_is_found_where_the_sum_in_float64_has_it(size):
    weights = np.exp(LARGE[:size])
    weights[size // 2 : -1 - size // 3] = 0
    sums = np.cumsum(weights, dtype=np.float64)
    for fraction in np.linspace(0, 1, 97)[:-1]:
        assert sampling.search_cumulative(weights, fraction) == np.searchsorted(sums, fraction * sums[-1], side="right")
    assert sampling.search_cumulative(weights, 1.0) == np.flatnonzero(weights)[-1]


@pytest.mark.parametrize("offset", range(1, 16, 3))
def test_sums_do_not_hang_on_where_the_weights_lie(offset):
    weights = np.exp(LARGE)
    moved = np.concatenate([np.zeros(offset, dtype=np.float32), weights])[offset:]
    assert sampling.block_sums(moved).tobytes() == sampling.block_sums(weights).tobytes()


@pytest.mark.parametrize("lift", [0, -4])
def test_the_repetition_penalty_is_that_of_transformers(lift):
    prompt, logits = [3, 3, 5], lift + np.array([1, -1, 2, -2, 0, 3, 2.5, 0], dtype=np.float32)
    penalty = RepetitionPenaltyLogitsProcessor(1.7)
    reply, heard = said(SamplingParams(repetition_penalty=1.7), logits, prompt), []
    for _ in range(12):
        scores = penalty(torch.tensor([prompt + heard]), torch.tensor(logits)[None])
        heard.append(int(scores.argmax()))
    assert reply == heard and reply[0] == 6, "5, the likeliest, was in the prompt"


def test_a_repetition_penalty_below_one_makes_a_parrot():
    assert said(SamplingParams(repetition_penalty=0.1), [1.0, 0.9, -5.0], [1]) == [1] * 12


def test_the_presence_penalty_is_taken_once():
    assert said(SamplingParams(presence_penalty=1), [3, 2.5, 0]) == [0, 1] + [0] * 10


def test_the_frequency_penalty_is_taken_each_time():
    assert said(SamplingParams(frequency_penalty=1), [3, 1.5, 0], times=6) == [0, 0, 1, 0, 1, 0]


def test_presence_and_frequency_leave_the_prompt_alone():
    manner = SamplingParams(presence_penalty=2, frequency_penalty=2)
    assert said(manner, [3, 2.5], prompt=[0] * 50, times=1) == [0]


def test_a_negative_penalty_favours_what_was_said():
    assert set(draw_tokens(SamplingParams(temperature=1, frequency_penalty=-2), times=60)) == {0, 1, 2, 3}
    assert len(set(said(SamplingParams(temperature=1, frequency_penalty=-2), times=60)[20:])) == 1


def test_a_bias_is_added_before_the_penalties():
    # 1 becomes 2 + 2, and a quarter of that once it has been said; added after it would be 0.5 + 2
    manner = SamplingParams(logit_bias={1: 2.0}, repetition_penalty=4.0)
    assert said(manner, [1.5, 2.0], times=2) == [1, 0]


@pytest.mark.parametrize("temperature", [0, 1])
def test_a_bias_forbids_and_commands(temperature):
    assert 1 not in said(SamplingParams(temperature=temperature, logit_bias={1: -100}), times=100)
    assert set(said(SamplingParams(temperature=temperature, logit_bias={2: 100}), times=100)) == {2}


@pytest.mark.parametrize("temperature", [0, 1])
def test_a_constraint_has_the_last_word_and_hears_every_choice(temperature):
    only = Only(2, 3)
    sampler = Sampler(SamplingParams(temperature=temperature, logit_bias={0: 100}), [0], only)
    chosen = [sampler.sample(LOGITS) for _ in range(100)]
    assert set(chosen) == ({2, 3} if temperature else {3}) and only.heard == chosen


def test_logits_stay_as_they_were():
    logits, before = LOGITS.copy(), LOGITS.copy()
    logits.flags.writeable = False  # as a view of another library's memory may be
    manner = SamplingParams(temperature=1, repetition_penalty=2, presence_penalty=1, logit_bias={0: 9}, top_p=0.9)
    Sampler(manner, [1, 2], Only(0, 1)).sample(logits)
    assert (logits == before).all()


def test_log_probabilities_sum_to_one_and_stand_extremes():
    found = sampling.log_probabilities(LOGITS)
    assert found.dtype == np.float32 and found == pytest.approx(LOGITS, abs=1e-6)
    assert np.exp(sampling.log_probabilities(LARGE).astype(np.float64)).sum() == pytest.approx(1, abs=1e-5)
    extreme = sampling.log_probabilities(np.array([-np.inf, 3e38, 3e38, 0], dtype=np.float32))
    assert extreme[:3].tolist() == [-np.inf, pytest.approx(-math.log(2)), pytest.approx(-math.log(2))]


def test_top_logprobs_fall_and_name_the_lower_of_equals_first():
    logits = np.array([0, 2, 1, 2, -np.inf], dtype=np.float32)
    whole = sampling.token_logprobs(logits, 0, 99).top
    assert [number for number, _ in whole] == [1, 3, 2, 0], "what cannot come is left out"
    assert sum(math.exp(chance) for _, chance in whole) == pytest.approx(1)
    assert sampling.token_logprobs(logits, 0, 2).top == whole[:2]
    assert sampling.token_logprobs(logits, 0, 0).top == []
    assert [number for number, _ in sampling.token_logprobs(np.zeros(500, dtype=np.float32), 0, 300).top] == list(
        range(300)
    )


def test_top_logprobs_begin_with_the_token_that_is_taken():
    """Two logits whose logarithms round to one number keep their order."""
    logits = np.array([0, 1e-6, 200], dtype=np.float32)
    found = sampling.token_logprobs(logits, 0, 3).top
    assert [number for number, _ in found] == [2, 1, 0] and found[1][1] == pytest.approx(found[2][1])


def test_a_neutral_choice_costs_no_more_than_finding_the_highest():
    sampler = Sampler(SamplingParams(), range(1000))
    bare = min(timed(LARGE.argmax) for _ in range(200))
    assert min(timed(lambda: sampler.sample(LARGE)) for _ in range(200)) < bare + 1e-5


def timed(call):
    """Seconds that a call takes."""
    begin = perf_counter()
    call()
    return perf_counter() - begin


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize("name, values", [
    ("temperature", [-1.0, NAN, INF]), ("top_k", [-1]), ("top_p", [0.0, 1.1, -0.5, NAN]), ("min_p", [-0.1, 1.1, NAN]),
    ("repetition_penalty", [0.0, -1.0, NAN, INF]), ("presence_penalty", [-2.1, 2.1, NAN]),
    ("frequency_penalty", [-2.1, 2.1, NAN]), ("seed", [-1]),
    ("logit_bias", [{0: 101}, {0: -101}, {0: NAN}, {0: INF}, {0: -INF}, {4: 1}, {-1: 1}]),
])  # fmt: skip
def test_values_without_a_meaning_are_refused_by_name(name, values):
    for value in values:
        with pytest.raises(ValueError, match=f"^{name}: "):
            sampling.validate(SamplingParams(**{name: value}), 4)


def test_where_the_vocabulary_is_not_known_any_id_may_be_in_it():
    sampling.validate(SamplingParams(logit_bias={10**9: 1}), None)
    with pytest.raises(ValueError, match=r"^logit_bias: there is no token -1;"):
        sampling.validate(SamplingParams(logit_bias={-1: 1}), None)


def test_values_at_the_edge_pass():
    edges = SamplingParams(0, 0, 1.0, 1.0, 0.01, -2, 2, {0: -100, 3: 100}, 0)
    assert sampling.validate(edges, 4) is None and sampling.validate(SamplingParams(), 1) is None
    assert len(fields(SamplingParams)) == 9, "a new field wants a check of its own"
