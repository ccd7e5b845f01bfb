"""A config.json of transformers 5 says the same in the fields that are read here."""

import pytest

from refrain.models.pretrained.translation import translate

THETA = {"rope_theta": 5e5}


def test_rope_parameters_become_the_fields_of_each_family():
    plain = {"rope_type": "default", **THETA}
    assert translate({"model_type": "llama", "rope_parameters": plain}) == {
        "model_type": "llama", **THETA, "rope_scaling": None,
    }  # fmt: skip
    stretched = {"rope_type": "linear", "factor": 8.0}
    assert translate({"model_type": "llama", "rope_parameters": stretched | THETA})["rope_scaling"] == stretched
    neox = translate({"model_type": "gpt_neox", "rope_parameters": plain | {"partial_rotary_factor": 0.5}})
    assert (neox["rotary_emb_base"], neox["rotary_pct"]) == (5e5, 0.5)
    by_layer = {"full_attention": plain, "sliding_attention": {"rope_theta": 7e3}}
    gemma = translate({"model_type": "gemma3_text", "rope_parameters": by_layer})
    assert (gemma["rope_theta"], gemma["rope_local_base_freq"], gemma["rope_scaling"]) == (5e5, 7e3, None)


def test_fields_that_a_family_says_in_its_own_way_are_said_so():
    factors = {"short_factor": [1.0], "long_factor": [2.0]}
    parameters = {"rope_type": "longrope", "original_max_position_embeddings": 64, **factors, **THETA}
    phi = translate({"model_type": "phi3", "rope_parameters": parameters})
    assert phi["rope_scaling"] == {"type": "longrope", **factors} and phi["original_max_position_embeddings"] == 64
    moe = translate({"model_type": "qwen3_moe", "num_local_experts": 4, "rope_parameters": THETA})
    assert moe["num_experts"] == 4 and "num_local_experts" not in moe


def test_what_was_not_written_by_transformers_5_stays_as_it_is():
    values = {"model_type": "llama", **THETA}
    assert translate(values) is values


@pytest.mark.parametrize(
    ("family", "parameters", "words"),
    [
        ("llama", {"rope_type": "default"}, "no rope_theta"),
        ("llama", {"partial_rotary_factor": 0.5, **THETA}, "partial_rotary_factor=0.5"),
        ("llama", {"full_attention": THETA, "sliding_attention": THETA}, "layer type"),
        ("gemma3_text", {"full_attention": THETA, "sliding_attention": {"rope_type": "yarn", **THETA}}, "yarn"),
        ("no_such", THETA, "model_type=no_such"),
    ],
)
def test_what_has_no_field_here_is_refused_by_name(family, parameters, words):
    with pytest.raises(ValueError, match=rf"config.json: .*{words}.*; "):
        translate({"model_type": family, "rope_parameters": parameters})
