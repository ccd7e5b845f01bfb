"""The proof: what a model is asked, and that a model which is wrong in one way only is found out in that way."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest

from refrain.chat import encoding, model_folder, records
from refrain.evaluation import comparison, divergence, intervals, metrics, parity, reference_replies, verdict
from refrain.models.pytorch import loading as models
from refrain.models.pytorch.language_model import TorchLanguageModel
from refrain.pipeline.export_schema import Thresholds
from refrain.runtime import loading as runtime

STEPS = 6
WAYS = {  # whether a question is asked in that way: cache, rows, new ids, logits wanted
    "whole": lambda cache, rows, ids, keep: cache is None and ids > keep > 1,  # one token has no two pieces
    "cached": lambda cache, rows, ids, keep: cache is not None and rows == ids == 1,
    "batched": lambda cache, rows, ids, keep: rows > 1,
    "chunked": lambda cache, rows, ids, keep: cache is not None and ids > 1,
}


@pytest.fixture(scope="module")
def speaker(merged):
    return TorchLanguageModel(models.load_pretrained(merged))


@pytest.fixture(scope="module")
def asked(speaker, talk, rows, merged, settings):
    return parity.parity_prompts(speaker, talk, rows, model_folder.read_context_length(merged), settings)


@pytest.fixture(scope="module")
def few(settings):
    return replace(settings, prompts=3, steps=STEPS)


@pytest.fixture(scope="module")
def brief(speaker, talk, rows, merged, few):
    return parity.parity_prompts(speaker, talk, rows, model_folder.read_context_length(merged), few)


class Sometimes:
    """A speaker that is itself, but when it is asked in one of the ways its logits are damaged."""

    def __init__(self, speaker, way, damage):
        self.speaker, self.when, self.damage = speaker, WAYS[way], damage

    def select_rows(self, cache, rows):
        return self.speaker.select_rows(cache, rows)

    def fork_row(self, cache, row):
        return None

    def forward(self, ids, mask, cache, keep=0):
        wrong = self.when(cache, *ids.shape, keep)
        logits, after = self.speaker.forward(ids, mask, cache, keep)
        return (self.damage(self.speaker, ids, logits) if wrong else logits), after


def forgets(speaker, ids, logits):
    """The first of them are those after an id alone."""
    own = ids[:, -logits.shape[1], None]
    return np.concatenate([speaker.forward(own, np.ones_like(own), None)[0], logits[:, 1:]], axis=1)


def stammers(speaker, ids, logits):
    """A single one of the last is no number."""
    logits[-1, -1, 5] = np.nan
    return logits


class Late:
    """A speaker that counts one position too many after the prompts of rows that are shorter than the longest."""

    def __init__(self, model):
        self.model = model

    def select_rows(self, cache, rows):
        return self.model.select_rows(cache, rows)

    def fork_row(self, cache, row):
        return None

    def forward(self, ids, mask, cache, keep=0):
        seen = mask if cache is None else mask.copy()
        if cache is not None:
            seen[mask[:, 0] == 0, 0] = 1  # its filling is heard, and counted
        return self.model.forward(ids, seen, cache, keep)


def off(proof):
    """The ways in which any logit differs."""
    return [way for way in WAYS if not getattr(proof, way) < 1e-3]


@pytest.mark.heavy
def test_a_model_is_all_like_itself(speaker, asked, settings):
    proof = parity.measure_parity(speaker, speaker, asked, settings)
    assert (proof.whole, proof.mean, proof.kl, proof.lost) == (0, 0, 0, 0)
    assert (proof.top1, proof.greedy, proof.rouge) == (1, 1, metrics.mean(asked.rouge)) and proof.rouge > 0
    assert 0 < max(proof.cached, proof.batched, proof.chunked) < 1e-4, "other sums of the same numbers"
    assert (proof.prompts, proof.tokens) == (len(asked.rows), asked.positions)
    assert proof.intervals["top1"] == (intervals.share_interval(asked.positions, asked.positions)[0], 1)
    assert proof.intervals["kl"] == proof.intervals["lost"] == (0, 0) and proof.intervals["greedy"] == (1, 1)


@pytest.mark.parametrize("name", ["fp32", "int8", "int4"])
def test_the_healthy_chain_passes(name, speaker, onnx, asked, fitting):
    proof = parity.measure_parity(speaker, runtime.load_model(onnx / name), asked, fitting)
    assert verdict.judge_variant(name, fitting.variants[name].thresholds, proof).fails == []


def test_fewer_bits_are_further_off(speaker, onnx, asked, settings):
    proofs = [
        parity.measure_parity(speaker, runtime.load_model(onnx / name), asked, settings)
        for name in ("fp32", "int8", "int4")
    ]
    for measure in ("whole", "cached", "batched", "chunked", "mean", "kl"):
        fp32, int8, int4 = (getattr(proof, measure) for proof in proofs)
        assert fp32 < 1e-4 and fp32 < int8 / 2 < int8 < int4


@pytest.mark.heavy
@pytest.mark.parametrize("way", WAYS)
def test_who_is_wrong_in_one_way_is_wrong_in_that_measure_only(way, speaker, brief, few):
    proof = parity.measure_parity(speaker, Sometimes(speaker, way, forgets), brief, few)
    assert off(proof) == [way] and getattr(proof, way) > 1
    assert proof.top1 < 1, "the worst of the ways"
    assert (proof.greedy < 1) == (way in ("cached", "batched")), "alone or in a batch, whichever is less"


@pytest.mark.heavy
@pytest.mark.parametrize("way", WAYS)
def test_a_single_logit_that_is_no_number_is_found_in_any_way(way, speaker, brief, few):
    proof = parity.measure_parity(speaker, Sometimes(speaker, way, stammers), brief, few)
    assert off(proof) == [way] and math.isnan(getattr(proof, way))
    sentences = verdict.judge_variant("int4", Thresholds(relative_logits=None, top1=0), proof).fails
    assert len(sentences) == 1
    assert sentences[0].startswith(
        f"int4: its {way} logits differ from the merged model's by nan standard deviations, "
    )


def test_who_is_given_up_on_whole_sequences_is_not_fed_token_by_token(speaker, brief, few):
    def give_up(stats):
        if len(stats.mean_differences) == len(brief.replies):
            raise ValueError("all are heard whole")

    candidate = Sometimes(speaker, "batched", lambda *_: pytest.fail("it is fed in a batch"))
    with pytest.raises(ValueError, match="all are heard whole"):
        parity.measure_parity(speaker, candidate, brief, few, give_up)


def test_positions_that_are_off_by_one_in_a_padded_batch_show_there_only(speaker, brief, few):
    assert off(parity.measure_parity(speaker, Late(speaker), brief, few)) == ["batched"]


def test_lost_are_points_of_a_hundred_below_the_reference(speaker, asked, settings):
    better = replace(asked, rouge=[points + 0.05 for points in asked.rouge])
    proof = parity.measure_parity(speaker, speaker, better, settings)
    assert proof.lost == pytest.approx(5) and proof.intervals["lost"] == pytest.approx((5, 5))


def test_awkward_prompts_are_among_the_questions(asked, talk, rows, settings):
    held_out = [encoding.encode_prompt(talk, row["messages"][:-1]) for row in rows[: settings.prompts]]
    one, hard, longest = (reply.prompt for reply in asked.replies[settings.prompts :])
    assert [reply.prompt for reply in asked.replies[: settings.prompts]] == held_out and asked.rows == rows[
        : settings.prompts
    ]
    assert len(one) == 1
    assert parity.RARE_CHARACTERS.strip() in talk.tokenizer.decode(hard, skip_special_tokens=False)
    assert len(longest) + settings.steps == 256, "all that the model can see"
    assert {len(reply.tokens) for reply in asked.replies} == {settings.steps}


@pytest.mark.parametrize("context, longest", [(50, 50 - 16), (2000, 1024 - 16)])
def test_no_question_is_longer_than_the_model_can_see(context, longest, speaker, talk, rows, settings):
    few = replace(settings, prompts=1)
    lengths = [len(reply.prompt) for reply in parity.parity_prompts(speaker, talk, rows, context, few).replies]
    assert max(lengths) == longest and 1 in lengths


def test_a_context_with_no_room_for_the_steps_is_refused(speaker, talk, rows, settings):
    sentence = r"^export\.steps=16: no held-out row leaves room for them in 28 tokens; take fewer$"
    with pytest.raises(ValueError, match=sentence):
        parity.parity_prompts(speaker, talk, rows, 28, settings)


@pytest.mark.parametrize("turn", [0, 1])
def test_a_row_that_the_model_cannot_see_whole_is_not_asked(turn, speaker, onnx, talk, rows, few):
    long = copy.deepcopy(rows[0]) | {"id": "long"}
    long["messages"][turn]["content"] = "x" * 300
    asked = parity.parity_prompts(speaker, talk, [long, *rows], 256, few)
    assert asked.rows == rows[: few.prompts]
    assert parity.measure_parity(speaker, runtime.load_model(onnx / "fp32"), asked, few).top1 == 1


def test_what_comes_after_the_end_of_a_reply_counts_in_logits_only(speaker, brief, few):
    """What the damaged model says last is heard after a reply that goes on, not after one that ended before."""
    for tokens, heard in ([5] * STEPS, True), ([5, 2, *[5] * (STEPS - 2)], False):
        count = reference_replies.count_heard(tokens, brief.tokenizer.stop_ids)
        replies = [comparison.read_reply(speaker, each.prompt, tokens, count) for each in brief.replies]
        asked = replace(brief, replies=replies)
        proof = parity.measure_parity(speaker, Sometimes(speaker, "whole", stammers), asked, few)
        assert off(proof) == ["whole"]
        assert (proof.top1 < 1) == math.isnan(proof.kl) == heard


def test_what_is_said_to_edge_cases_counts_in_logits_only(speaker, brief, few):
    stats = divergence.DivergenceStats(0.0)
    for reply in brief.replies[len(brief.rows) :]:
        comparison.compare_at_once(speaker, Sometimes(speaker, "whole", stammers), reply, True, stats)
    assert math.isnan(stats.largest["whole"]) and stats.kl_divergences == []
    assert not any(stats.agreements.values()) and stats.agreements.keys() == {"whole", "chunked"}
    assert brief.positions == sum(reply.heard for reply in brief.replies[: len(brief.rows)]) > 0


def test_what_fp32_rounds_of_a_reference_is_read_from_what_it_has_said(speaker, brief):
    again = divergence.measure_rounding(speaker, [reply.prompt for reply in brief.replies]).whole
    assert brief.rounding == pytest.approx(again, rel=0.5) and brief.rounding > 0


@pytest.mark.parametrize(
    "filled, taken", [({"train"}, "train"), ({"train", "val"}, "val"), ({"train", "val", "test"}, "test")]
)
def test_prompts_are_held_out_where_there_are_any(rows, tmp_path, filled, taken):
    splits = {split: rows[i * 5 : i * 5 + 5] for i, split in enumerate(["train", "val", "test"])}
    for split, its_rows in splits.items():
        records.write_rows(tmp_path / f"{split}.jsonl", its_rows if split in filled else [])
    assert records.read_held_out_rows(tmp_path) == splits[taken]
    bad_rows = [{**row, "label": False} for row in rows[15:]]
    records.write_rows(tmp_path / "test.jsonl", [*bad_rows, *(splits["test"] if "test" in filled else [])])
    assert records.read_held_out_rows(tmp_path) == splits[taken]


def test_prompts_of_bad_replies_are_better_than_none(rows, tmp_path):
    for name, its_rows in (("train", [{**row, "label": False} for row in rows]), ("val", []), ("test", [])):
        records.write_rows(tmp_path / f"{name}.jsonl", its_rows)
    assert [row["id"] for row in records.read_held_out_rows(tmp_path)] == [row["id"] for row in rows]


class Undecided:
    """A speaker that finds the second best token a little likelier than the best at one step of each decoding."""

    def __init__(self, speaker, step):
        self.speaker, self.step = speaker, step

    def select_rows(self, cache, rows):
        return cache[0], self.speaker.select_rows(cache[1], rows)

    def fork_row(self, cache, row):
        return None

    def forward(self, ids, mask, cache, keep=0):
        at, inner = cache or (0, None)
        logits, after = self.speaker.forward(ids, mask, inner, keep)
        if at == self.step:
            for row in logits[:, -1]:
                best, second = row.argsort()[[-1, -2]]
                row[second] = row[best] + 1e-6
        return logits, (at + 1, after)


@pytest.mark.heavy
def test_a_flip_counts_unless_the_reference_finds_both_as_good_as_equal(speaker, brief, few):
    strict = parity.measure_parity(speaker, Undecided(speaker, 2), brief, few)
    assert strict.greedy == 2 / STEPS and strict.top1 < 1
    all_ties = replace(brief, rounding=1.0)
    assert parity.measure_parity(speaker, Undecided(speaker, 2), all_ties, few).greedy == 1
    assert parity.measure_parity(speaker, Undecided(speaker, 2), all_ties, few).lost == 0


@pytest.mark.heavy
def test_a_sample_of_the_rows_and_every_edge_case_is_decoded_alone(monkeypatch, speaker, brief, few):
    monkeypatch.setattr(parity, "ALONE", 1)
    alone = Listener(speaker)
    parity.measure_parity(speaker, alone, brief, few)
    lengths = [len(brief.replies[0].prompt), *(len(reply.prompt) for reply in brief.replies[len(brief.rows) :])]
    halves = [length // 2 for length in lengths if length > 1]
    assert sorted(alone.prompts) == sorted([*lengths, *halves])


@pytest.mark.parametrize("way", ["cached", "chunked"])
def test_a_row_that_is_not_decoded_alone_counts_as_in_the_batch_or_whole(way, monkeypatch, speaker, brief, few):
    wrong = parity.measure_parity(speaker, Sometimes(speaker, way, forgets), brief, few)
    monkeypatch.setattr(parity, "ALONE", 1)
    one = parity.measure_parity(speaker, Sometimes(speaker, way, forgets), brief, few)
    assert wrong.top1 < one.top1 < 1, "two of three rows are right: all three are counted"
    assert one.intervals["top1"] == intervals.share_interval(round(one.top1 * brief.positions), brief.positions)


@pytest.mark.parametrize("count, batches", [(1, [4]), (3, [3, 3])])
def test_edge_cases_are_a_batch_of_their_own_unless_a_row_has_no_other_company(
    count, batches, speaker, talk, rows, few
):
    asked = parity.parity_prompts(speaker, talk, rows, 256, replace(few, prompts=count))
    fed = Listener(speaker)
    parity.measure_parity(speaker, fed, asked, few)
    assert fed.batches == batches


@pytest.mark.heavy
def test_replies_that_end_at_different_steps_are_each_compared_to_their_own_end(speaker, brief, few):
    endings = [[2], [5, 2], [5, 5, 5, 2], *([5] * STEPS for _ in brief.replies[3:])]
    replies = [comparison.read_reply(speaker, reply.prompt, tokens, len(tokens))
               for reply, tokens in zip(brief.replies, endings, strict=True)]  # fmt: skip
    asked, alone = replace(brief, replies=replies), Listener(speaker)
    proof = parity.measure_parity(speaker, alone, asked, few)
    assert off(proof) == [] and (proof.top1, proof.greedy) == (1, 1)
    assert alone.steps == sum(len(tokens) - 1 for tokens in endings)
    for way in ("cached", "batched"):
        forgetful = parity.measure_parity(speaker, Sometimes(speaker, way, forgets), asked, few)
        assert off(forgetful) == [way] and forgetful.greedy < 1


class Listener:
    """A speaker that remembers the rows of batches, and prompts that it was given alone to go on token by token."""

    def __init__(self, speaker):
        self.speaker, self.prompts, self.steps, self.batches = speaker, [], 0, []

    def select_rows(self, cache, rows):
        return self.speaker.select_rows(cache, rows)

    def fork_row(self, cache, row):
        return None

    def forward(self, ids, mask, cache, keep=0):
        if cache is None and len(ids) == keep == 1:
            self.prompts.append(ids.shape[1])
        self.batches += [len(ids)] if cache is None and len(ids) > 1 else []
        self.steps += cache is not None and ids.shape == (1, 1)
        return self.speaker.forward(ids, mask, cache, keep)
