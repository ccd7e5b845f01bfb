"""Which exporter draws a model is known from its config.json and headers alone."""

import pytest
from transformers import AutoModelForCausalLM, BloomConfig, FalconConfig, LlamaConfig, MambaConfig

from refrain.exporters.architectures.exporter_choice import choose_exporter

SHAPE = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


def save(config, folder):
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def test_compact_where_it_can_draw_else_optimum_with_the_reason_else_a_sentence(tmp_path):
    drawn = save(LlamaConfig(**SHAPE, intermediate_size=32), tmp_path / "llama")
    assert choose_exporter(drawn).exporter == "compact" and choose_exporter(drawn).reason is None
    traced = choose_exporter(save(BloomConfig(**SHAPE), tmp_path / "bloom"))
    assert traced.exporter == "optimum" and "model_type=bloom" in traced.reason
    with pytest.raises(ValueError, match=r"config.json: model_type=mamba .*; choose a model of another family"):
        choose_exporter(save(MambaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=1), tmp_path / "mamba"))


def test_a_cache_that_optimum_takes_for_one_of_groups_is_refused(tmp_path):
    falcon = SHAPE | {"num_attention_heads": 4, "new_decoder_architecture": True}
    with pytest.raises(ValueError, match=r"config.json: a falcon .* num_kv_heads=2 of 4 heads .*; choose a model"):
        choose_exporter(save(FalconConfig(**falcon, num_kv_heads=2), tmp_path / "groups"))
    assert choose_exporter(save(FalconConfig(**SHAPE), tmp_path / "one")).exporter == "optimum"
