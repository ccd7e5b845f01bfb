"""How far two models are apart: numbers that are known, and a merge that is refused when they are not small."""

import math

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from refrain.chat import encoding
from refrain.evaluation import divergence
from refrain.evaluation.divergence import Divergence, DivergenceStats
from refrain.models.pytorch import loading
from refrain.models.pytorch.language_model import TorchLanguageModel
from refrain.runtime import language_model


@pytest.fixture(scope="module")
def asked(talk, rows):
    return [encoding.encode_prompt(talk, row["messages"][:-1]) for row in rows[:8]]


@pytest.fixture(scope="module")
def adapted(base, adapter):
    return TorchLanguageModel(loading.load_finetuned(base, adapter))


def logits(*shares):
    """Logits of one position for each list of probabilities."""
    return np.log(np.array(shares, dtype=np.float32))


@pytest.mark.heavy
def test_a_model_is_all_like_itself(adapted, asked):
    assert divergence.measure_divergence(adapted, adapted, asked) == Divergence(whole=0, mean=0, kl=0, top1=1)


def test_a_merge_is_the_adapter_and_the_base_is_not(adapted, base, merged, asked):
    found = divergence.measure_divergence(adapted, TorchLanguageModel(loading.load_pretrained(merged)), asked)
    divergence.require_equal(found, 0.0, 1e-4)
    assert found.whole > 0 and found.top1 == 1, "other sums, the same words"
    lost = divergence.measure_divergence(adapted, TorchLanguageModel(loading.load_pretrained(base)), asked)
    assert lost.whole > lost.mean > 0.1 and lost.kl > 0.1 and lost.top1 < 1
    with pytest.raises(ValueError) as error:
        divergence.require_equal(lost, 0.0, 1e-4)
    assert str(error.value) == (
        f"merged: its logits differ from the adapter's by {lost.whole:.2g} standard deviations, "
        "merge.relative_logits allows 0.0001"
    )


def test_an_adapter_on_a_tied_head_is_refused(base, asked, tmp_path):
    """It changes the head alone while it stands beside it, and the table of tokens too once it is folded in."""
    model = loading.load_pretrained(base)
    model.config.tie_word_embeddings = True
    model.tie_weights()
    model.save_pretrained(tmp_path / "tied")
    adapter = get_peft_model(loading.load_pretrained(tmp_path / "tied"), LoraConfig(r=2, target_modules=["lm_head"]))
    torch.nn.init.normal_(adapter.base_model.model.lm_head.lora_B["default"].weight)
    loading.save_pretrained(adapter, tmp_path / "adapter")
    beside, folded = (loading.load_finetuned(tmp_path / "tied", tmp_path / "adapter") for _ in range(2))
    found = divergence.measure_divergence(
        TorchLanguageModel(beside), TorchLanguageModel(loading.merge_adapter(folded)), asked
    )
    with pytest.raises(ValueError, match=r"^merged: its logits differ from the adapter's by "):
        divergence.require_equal(found, 0.0, 1e-4)


def test_a_difference_just_as_large_as_allowed_passes_and_no_number_does_not():
    divergence.require_equal(Divergence(whole=1e-4, mean=0, kl=0, top1=1), 0.0, 1e-4)
    for whole in (1.001e-4, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"^merged: "):
            divergence.require_equal(Divergence(whole=whole, mean=0, kl=0, top1=1), 0.0, 1e-4)


def test_divergence_is_that_of_the_candidate_from_the_reference_at_each_position():
    right, got = logits([0.5, 0.5], [0.5, 0.5], [0.25, 0.75]), logits([0.5, 0.5], [0.25, 0.75], [0.5, 0.5])
    nats = [0, 0.5 * math.log(4 / 3), 0.75 * math.log(3) - math.log(2)]
    assert divergence.kl_divergence(right, got) == pytest.approx(nats, abs=1e-6)


def test_divergence_does_not_see_what_a_softmax_does_not():
    right = logits([0.1, 0.9], [0.6, 0.4])
    assert divergence.kl_divergence(right, right + np.float32(7)) == pytest.approx([0, 0], abs=1e-6)


def test_the_likelihood_of_very_sure_models_is_finite():
    sure = np.array([[1e4, 0, -1e4]], dtype=np.float32)
    assert language_model.log_softmax(sure).tolist() == [[0, -1e4, -2e4]]


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_logit_that_is_no_number_is_never_lost_among_others(at):
    count, right = DivergenceStats(), np.zeros((4, 3), dtype=np.float32)
    for sequence in range(3):
        got = right + np.float32(sequence)
        got[2, 1] = np.nan if sequence == at else got[2, 1]
        count.add("cached", right, got)
    assert math.isnan(count.largest["cached"])


def test_the_worst_of_the_ways_is_the_share_of_equal_tokens():
    count, right = DivergenceStats(), logits([0.1, 0.9], [0.6, 0.4])
    for way, got in {"whole": right, "cached": right[::-1], "chunked": right[[0, 0]]}.items():
        count.add(way, right, got)
    count.add("cached", right, right)
    assert count.top1() == 0.5
    assert count.mean() == count.kl() == 0 < count.largest["cached"], "these tell of whole sequences only"


def test_words_that_nobody_hears_are_compared_by_logits_alone():
    right, got = logits([0.1, 0.9], [0.6, 0.4]), logits([0.1, 0.9], [0.2, 0.8])
    meant, all_of_it = DivergenceStats(), DivergenceStats()
    meant.add("whole", right, got, 1)
    all_of_it.add("whole", right, got)
    assert meant.largest == all_of_it.largest and meant.mean() == all_of_it.mean() > 0
    assert (meant.top1(), all_of_it.top1()) == (1, 0.5) and meant.kl() == 0 < all_of_it.kl()


def test_a_long_sequence_weighs_more_than_a_short_one():
    count = DivergenceStats()
    for right, got in ([[0.9, 0.1]], [[0.1, 0.9]]), ([[0.9, 0.1]] * 3, [[0.9, 0.1]] * 3):
        count.add("whole", logits(*right), logits(*got))
    assert count.top1() == 0.75 and count.kl() == pytest.approx(0.8 * math.log(9) / 4, abs=1e-6)


def test_all_positions_are_given_or_the_last_ones(adapted, asked):
    whole = divergence.sequence_logits(adapted, asked[0])
    assert len(whole) == len(asked[0])
    assert np.abs(divergence.sequence_logits(adapted, asked[0], 3) - whole[-3:]).max() < 1e-4


def test_facts_are_short():
    found = Divergence(whole=1.2345678, mean=1.2345e-5, kl=-0.0123456, top1=-23.456789)
    assert divergence.rounded_facts(found) == {"whole": 1.2346, "mean": 1.2e-5, "kl": -0.012, "top1": -23.4568}


@pytest.mark.parametrize("gap, same", [(0.0, True), (0.019, True), (0.021, False)])
def test_of_two_tokens_nearer_than_a_tie_either_may_be_chosen(gap, same):
    right = np.array([[1 + gap, 1, -1, -1]], dtype=np.float32)
    got = right + np.array([-0.05, 0, 0, 0], dtype=np.float32)
    stats = DivergenceStats(tie=0.02)
    assert stats.add("whole", right, got * 3).tolist() == [same] and stats.top1() == same
    assert DivergenceStats().add("whole", right, got).tolist() == [gap == 0], "without a tie equal ones alone"


def test_a_difference_is_in_standard_deviations_and_so_the_same_for_logits_of_any_size():
    right = np.array([[1, -1, 1, -1], [3, 3, 3, 3]], dtype=np.float32)
    got = right + np.array([0.5, 0, 0, 0], dtype=np.float32)
    for scale in (1, 1000):
        largest, mean = divergence.relative_differences(right * scale, got * scale)
        assert largest[0] == 0.5 and mean[0] == 0.125
    assert divergence.relative_differences(right, got)[0][1] == 0.5, "all equally likely: no spread to measure by"


def test_long_rows_are_compared_in_pieces_with_the_same_result(monkeypatch):
    rng = np.random.default_rng(0)
    right = rng.normal(size=(7, 50)).astype(np.float32)
    got = right + rng.normal(size=right.shape).astype(np.float32) / 10
    whole, pieces = DivergenceStats(), DivergenceStats()
    whole.add("whole", right, got, 5)
    monkeypatch.setattr(divergence, "CHUNK_BYTES", 2 * 8 * 50)
    pieces.add("whole", right, got, 5)
    assert whole.summary() == pieces.summary() and len(pieces.kl_divergences) == 5


def test_the_limit_gives_way_to_what_fp32_rounds_and_says_so(adapted):
    divergence.require_equal(Divergence(whole=0.009, mean=0, kl=0, top1=1), 1e-3, 1e-3)
    with pytest.raises(ValueError, match=r"allows 0\.001, and 0\.01 for what fp32 rounds in this model$"):
        divergence.require_equal(Divergence(whole=0.011, mean=0, kl=0, top1=1), 1e-3, 1e-3)
    with pytest.raises(ValueError, match=r"^merged: its weights are others$"):
        divergence.require_equal(Divergence(whole=0, mean=0, kl=0, top1=1), 0.0, 1e-3, ["its weights are others"])
    with pytest.raises(ValueError, match=r"^merged: no held-out prompt fits "):
        divergence.measure_divergence(adapted, adapted, [])
