"""Thresholds and what is measured: a sentence for each that is missed, and what chance explains is no failure."""

import math
from dataclasses import replace

import pytest
from threshold_results import BARS, JUST

from refrain.evaluation import intervals, verdict
from refrain.pipeline.export_schema import Thresholds


@pytest.mark.parametrize("worse, sentence", [
    ({"whole": 5.0}, "its whole logits differ from the merged model's by 5{far}"),
    ({"cached": 0.123}, "its cached logits differ from the merged model's by 0.12{far}"),
    ({"batched": 2e4}, "its batched logits differ from the merged model's by 2e+04{far}"),
    ({"chunked": math.nan}, "its chunked logits differ from the merged model's by nan{far}"),
    ({"top1": 0.9}, "90.0% of its top1 tokens are the merged model's, {}.top1 wants 95.0%"),
    ({"greedy": 0.7}, "70.0% of its greedy tokens are the merged model's, {}.greedy wants 80.0%"),
    ({"top1": math.nan}, "nan% of its top1 tokens are the merged model's, {}.top1 wants 95.0%"),
    ({"kl": 0.03}, "its next tokens diverge from the merged model's by 0.03 nats, {}.kl allows 0.02"),
    ({"kl": math.nan}, "its next tokens diverge from the merged model's by nan nats, {}.kl allows 0.02"),
    ({"lost": 0.51}, "its ROUGE-L is 0.51 points below the merged model's, {}.rouge allows 0.5"),
    ({"lost": math.nan}, "its ROUGE-L is nan points below the merged model's, {}.rouge allows 0.5"),
])  # fmt: skip
def test_each_bar_has_its_sentence(worse, sentence):
    far = " standard deviations, export.variants.v.thresholds.relative_logits allows 0.1"
    assert verdict.judge_variant("v", BARS, JUST).fails == []
    assert verdict.judge_variant("v", BARS, replace(JUST, **worse)).fails == [
        "v: " + sentence.format("export.variants.v.thresholds", far=far)
    ]


def test_a_bar_that_is_null_lets_all_pass_but_what_is_no_number():
    free, far = (
        Thresholds(relative_logits=None, top1=0, rouge=None),
        {"whole": 99.0, "cached": 99.0, "greedy": 0, "lost": 99.0},
    )
    assert verdict.judge_variant("v", free, replace(JUST, **far)).fails == []
    assert len(verdict.judge_variant("v", free, replace(JUST, whole=math.nan, chunked=math.inf)).fails) == 2


def test_a_model_that_fp32_rounds_coarsely_has_wider_bars():
    coarse = replace(JUST, rounding=0.02, whole=0.2, kl=0.08)  # ten roundings are twice the bar
    assert verdict.judge_variant("v", BARS, coarse).fails == []
    far, apart = verdict.judge_variant("v", BARS, replace(coarse, whole=0.21, kl=0.09)).fails
    assert far.endswith("relative_logits allows 0.1, and 0.2 for what fp32 rounds in this model")
    assert apart.endswith("kl allows 0.02, and 0.08 for what fp32 rounds in this model")


QUANTISED = Thresholds(kl=5e-3, top1=0.96, rouge=0.5)


def make_measures(hits, tokens, losses):
    """The proof of a variant of which so many tokens are the merged model's, and whose replies lose such points."""
    measured = {"top1": intervals.share_interval(hits, tokens), "lost": intervals.student_interval(losses)}
    mean = sum(losses) / len(losses)
    return replace(JUST, kl=0, top1=hits / tokens, lost=mean, tokens=tokens, prompts=len(losses), intervals=measured)


@pytest.mark.parametrize(("hits", "tokens", "outcome"), [
    (58, 60, "lucky"),
    (57, 60, "missed"),
    (48, 60, "fails"),
    (5800, 6000, None),
    (5700, 6000, "fails"),
])  # fmt: skip
def test_a_share_of_few_tokens_fails_only_where_chance_does_not_explain_it(hits, tokens, outcome):
    found = verdict.judge_variant("v", QUANTISED, make_measures(hits, tokens, [0, 0]))
    assert [name for name, sentences in vars(found).items() if sentences] == [outcome] * (outcome is not None)
    if outcome == "missed":
        assert found.missed == [
            "v: 95.0% of its top1 tokens are the merged model's, export.variants.v.thresholds.top1 wants 96.0% "
            "(95 % interval 86.3% to 98.3%, of 60 tokens after 2 prompts)"
        ]


@pytest.mark.parametrize(("losses", "outcome"), [
    ([0, 0, 0, 0, 0, 6], "missed"),
    ([0, 0, 0, 0, 0, 2], "lucky"),
    ([1, 1, 1, 1, 1, 1], "fails"),
    ([2, 3, 2, 4, 3, 2], "fails"),
    ([7], "missed"),
    ([0], "lucky"),
    ([0] * 6, None),
])  # fmt: skip
def test_points_that_few_prompts_lose_fail_only_where_chance_does_not_explain_them(losses, outcome):
    found = verdict.judge_variant("v", QUANTISED, make_measures(60_000, 60_000, losses))
    assert [name for name, sentences in vars(found).items() if sentences] == [outcome] * (outcome is not None)


@pytest.mark.parametrize("hits", [59, 60])
def test_where_every_token_is_wanted_nothing_is_left_to_chance(hits):
    found = verdict.judge_variant("v", Thresholds(top1=1.0), make_measures(hits, 60, [0]))
    assert (len(found.fails), found.missed, found.lucky) == (60 - hits, [], [])
