"""Rows one after the other in a packed batch, and none of them sees another."""

import pytest
import small_architectures
import torch
from labelled_rows import random_rows
from transformers import Lfm2Config, Lfm2ForCausalLM

from refrain.training import packing
from refrain.training.objectives.logprobs import pack_rows, sequence_logprobs


@pytest.fixture(params=small_architectures.ALIKE, scope="module")
def model(request):
    return small_architectures.random(request.param)


def logits(model, rows):
    """Of each packed row, all its columns."""
    with packing.packed_attention(model), torch.no_grad():
        batch, places = pack_rows([tuple(row["input_ids"]) for row in rows], torch.device("cpu"))
        found = model(**batch, use_cache=False).logits[0]
        return [found[row] for row in places]


@pytest.mark.parametrize("changed", range(4))
def test_a_changed_token_changes_nothing_in_the_other_rows_to_the_bit(model, changed):
    rows = random_rows((9, 9, 4, 13))
    other = [dict(row) for row in rows]
    ids = list(rows[changed]["input_ids"])
    other[changed]["input_ids"] = [(ids[0] + 1) % 97, *ids[1:]]
    for number, (before, after) in enumerate(zip(logits(model, rows), logits(model, other), strict=True)):
        assert torch.equal(before, after) == (number != changed)


@pytest.mark.parametrize("name", small_architectures.PACKED)
def test_a_packed_row_is_as_it_is_alone(name):
    model, rows = small_architectures.random(name), random_rows((9, 9, 4, 13))
    for row, packed in zip(rows, logits(model, rows), strict=True):
        with torch.no_grad():
            alone = model(torch.tensor([row["input_ids"]])).logits[0]
        torch.testing.assert_close(packed, alone, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("name", ["mistral", "gemma3"])
def test_a_window_ends_inside_a_packed_row(name):
    """Two layers of four tokens each reach back six; of Gemma's, the second reaches back to the beginning."""
    rows = random_rows((14, 14))
    other = [{**rows[0], "input_ids": [(rows[0]["input_ids"][0] + 1) % 97, *rows[0]["input_ids"][1:]]}, rows[1]]
    model = small_architectures.random(name)
    before, after = (logits(model, some)[0] for some in (rows, other))
    assert torch.equal(before[7:], after[7:]) == (name == "mistral")
    assert not torch.equal(before[6], after[6])


def test_the_order_of_rows_changes_no_likelihood(model):
    rows = random_rows((9, 4, 9, 13, 4))
    with packing.packed_attention(model), torch.no_grad():
        forth, back = sequence_logprobs(model, rows, True), sequence_logprobs(model, rows[::-1], True)
    torch.testing.assert_close(forth, back.flip(0), atol=1e-5, rtol=1e-6)


def test_attention_is_as_before_when_packing_is_over(model):
    before = model.config._attn_implementation
    with pytest.raises(RuntimeError, match="over"), packing.packed_attention(model):
        assert model.config._attn_implementation == packing.ATTENTION != before
        raise RuntimeError("over")
    assert model.config._attn_implementation == before


@pytest.mark.parametrize("name", small_architectures.CONFIGS)
def test_packing_is_possible_where_a_packed_row_gets_what_it_gets_alone(name):
    model = small_architectures.random(name)
    before = model.config._attn_implementation
    assert packing.is_supported(model) == (name in small_architectures.PACKED)
    assert model.config._attn_implementation == before


def test_packing_is_not_possible_where_only_some_layers_attend():
    torch.manual_seed(0)
    shape = {**small_architectures.OWN_WIDTH, "layer_types": ["conv", "full_attention"]}
    assert not packing.is_supported(Lfm2ForCausalLM(Lfm2Config(**shape)))


def test_a_cap_that_is_null_is_none(monkeypatch):
    config = small_architectures.CONFIGS["gemma2"]
    monkeypatch.setattr(config, "attn_logit_softcapping", None)
    assert packing.is_supported(small_architectures.random("gemma2"))


def test_a_window_that_only_the_mask_has_is_found_in_the_mask(monkeypatch):
    """It is longer than the rows that are tried."""
    monkeypatch.setattr(small_architectures.CONFIGS["qwen2"], "sliding_window", 12)
    model = small_architectures.random("qwen2")
    assert packing.is_supported(model)
    model.model.layers[1].self_attn.sliding_window = None
    assert packing.is_same_packed(model) and not packing.is_supported(model)


def test_what_is_not_told_is_found_by_trying(monkeypatch):
    """Positions that are not those of the row: no setting of attention says so."""
    model = small_architectures.random("llama")
    rotary = type(model.model.rotary_emb)
    plain = rotary.forward
    monkeypatch.setattr(rotary, "forward", lambda self, x, ids: plain(self, x, ids.new_ones(ids.shape).cumsum(1) ** 2))
    assert packing.is_attention_known(model) and not packing.is_supported(model)


def test_asking_leaves_a_model_as_it_was():
    model = small_architectures.random("llama").train()
    before = torch.get_rng_state()
    assert packing.is_supported(model) and model.training and torch.equal(torch.get_rng_state(), before)
