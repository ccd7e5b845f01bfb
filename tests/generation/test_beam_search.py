"""The beams of Hugging Face's generate, found on the exported graph."""

import compact_model
import numpy as np
import pytest
import torch
import traced_model
from transformers import AutoModelForCausalLM

from refrain.generation import beam_search
from refrain.runtime import language_model, loading
from refrain.runtime.session import PREFILL_CHUNK

NONE = frozenset()
PROMPTS = [[7], [200, 7, 7, 31], list(range(PREFILL_CHUNK + 20)), [3, 1, 4, 1, 5, 9]]


@pytest.fixture(scope="module", params=["llama", "gpt2", "optimum"])
def pair(request, tmp_path_factory):
    """A model as we run it, and as PyTorch does."""
    base = tmp_path_factory.getbasetemp()
    if request.param == "optimum":
        ours = traced_model.build(base / "tiny")
        theirs = ours.parent / "torch"
    else:
        ours = compact_model.build(base, request.param, "fp32")
        theirs = compact_model.weights(base, request.param)
    return loading.load_model(ours, 1), AutoModelForCausalLM.from_pretrained(theirs).eval()


def theirs(model, prompt, limit, ends, width, power):
    """Ids without end tokens, and score, of all beams that Hugging Face returns."""
    settings = {
        **{"num_beams": width, "num_return_sequences": width, "early_stopping": True, "length_penalty": power},
        **{"do_sample": False, "max_new_tokens": limit, "pad_token_id": 0, "eos_token_id": sorted(ends) or None},
        **{"return_dict_in_generate": True, "output_scores": True},
    }
    model.generation_config.eos_token_id = None
    ids = torch.tensor([prompt])
    done = model.generate(ids, attention_mask=torch.ones_like(ids), **settings)
    beams = []
    for row, score in zip(done.sequences[:, len(prompt) :].tolist(), done.sequences_scores.tolist(), strict=True):
        end = next((at for at, token in enumerate(row) if token in ends), limit)
        beams.append((row[:end], score))
    return beams


def common_ends(model, prompt, count):
    """Ids that likely replies hold early, so that many beams end at different times."""
    said = [token for ids, _ in theirs(model, prompt, 6, NONE, 4, 1.0) for token in ids[1:]]
    return frozenset(sorted(set(said), key=said.count)[-count:])


def same(ours, theirs):
    assert [each.ids for each in ours] == [ids for ids, _ in theirs]
    assert np.abs(np.array([each.score for each in ours]) - [score for _, score in theirs]).max() < 1e-4


@pytest.mark.heavy
@pytest.mark.parametrize("prompt", PROMPTS, ids=len)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_beams_are_those_of_hugging_face(count, prompt, pair):
    lm, model = pair
    ends = common_ends(model, prompt, count) if count else NONE
    for limit in (1, 2, 3, 5, 8, 20):
        same(beam_search.beam_search(lm, prompt, limit, ends, 4, 1.0), theirs(model, prompt, limit, ends, 4, 1.0))


def test_as_many_beams_go_on_when_most_continuations_are_ends(pair):
    lm, model = pair
    ends = frozenset(range(0, 259, 2)) | frozenset(range(0, 259, 3))
    for prompt in PROMPTS:
        same(beam_search.beam_search(lm, prompt, 9, ends, 4, 1.0), theirs(model, prompt, 9, ends, 4, 1.0))


@pytest.mark.heavy
@pytest.mark.parametrize("power", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("width", [2, 3, 7])
def test_other_widths_and_length_penalties_are_too(width, power, pair):
    lm, model = pair
    ends = common_ends(model, PROMPTS[1], 3)
    for limit in (4, 15):
        ours = beam_search.beam_search(lm, PROMPTS[1], limit, ends, width, power)
        same(ours, theirs(model, PROMPTS[1], limit, ends, width, power))


def test_beams_end_at_different_times_and_at_the_limit(pair):
    lm, model = pair
    ends = common_ends(model, PROMPTS[1], 3)
    lengths = [
        {len(each.ids) for each in beam_search.beam_search(lm, PROMPTS[1], limit, ends, 4, 1.0)} for limit in (2, 20)
    ]
    assert 2 in lengths[0] and len(lengths[1]) > 1 and max(lengths[1]) < 20


@pytest.mark.parametrize("count", [0, 1])
def test_one_beam_says_what_greedy_decoding_says(count, pair):
    lm, model = pair
    for prompt in PROMPTS:
        ends = common_ends(model, prompt, count) if count else NONE
        (only,) = beam_search.beam_search(lm, prompt, 20, ends, 1, 1.0)
        assert only.ids == language_model.greedy_decode(lm, [prompt], 20, ends)[0]


def test_more_beams_find_what_is_likelier_as_a_whole(pair):
    lm, _ = pair
    scores = [beam_search.beam_search(lm, PROMPTS[3], 12, NONE, width, 1.0)[0].score for width in (1, 16)]
    assert scores[0] < scores[1] < 0


def test_a_search_goes_no_further_than_the_model_sees(pair):
    lm, _ = pair
    prompt = np.resize(PROMPTS[2], lm.context - 4).tolist()
    assert {len(each.ids) for each in beam_search.beam_search(lm, prompt, 5, NONE, 4, 1.0)} == {5}
    with pytest.raises(ValueError, match=f"^{lm.context + 1} tokens: the model sees {lm.context} at once"):
        beam_search.beam_search(lm, prompt, 6, NONE, 4, 1.0)
