"""The facts of a folder are those of the model that transformers makes of it."""

import json

import pytest
import small_architectures
from transformers import AutoModelForCausalLM, FalconConfig, GPTNeoXConfig

from refrain.models.pretrained import facts


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    others = {
        "neox": GPTNeoXConfig(vocab_size=97, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                              intermediate_size=64, max_position_embeddings=64),
        "falcon": FalconConfig(vocab_size=97, hidden_size=64, num_hidden_layers=2, num_attention_heads=4),
    }  # fmt: skip
    root = tmp_path_factory.mktemp("shapes")
    for name in small_architectures.CONFIGS:
        small_architectures.random(name).save_pretrained(root / name)
    for name, config in others.items():
        AutoModelForCausalLM.from_config(config).save_pretrained(root / name)
    return root


@pytest.mark.parametrize("name", [*small_architectures.CONFIGS, "neox", "falcon"])
def test_parameters_are_counted_as_transformers_counts_them(folders, name):
    found, model = facts.read_facts(folders / name), AutoModelForCausalLM.from_pretrained(folders / name)
    assert found.parameters == model.num_parameters()
    assert found.vocabulary == model.get_input_embeddings().num_embeddings
    assert found.is_tied == (model.get_input_embeddings().weight is model.get_output_embeddings().weight)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("llama", (2, 32, 4, 2, 16, 48, 64, 0)),
        ("gemma3", (2, 32, 4, 2, 16, 48, 64, 4)),
        ("gpt2", (2, 32, 4, 4, 8, 128, 64, 0)),
        ("neox", (2, 32, 2, 2, 16, 64, 64, 0)),
        ("falcon", (2, 64, 4, 1, 16, 256, 2048, 0)),
    ],
)
def test_shape_of_every_naming(folders, name, shape):
    found = facts.read_facts(folders / name)
    assert shape == (found.layers, found.width, found.heads, found.kv_heads, found.head_dim, found.feed_forward,
                     found.context, found.window)  # fmt: skip


def test_a_tied_head_that_is_stored_too_counts_once(folders, tmp_path):
    model = small_architectures.random("llama")
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    apart, tied = facts.read_facts(folders / "llama"), facts.read_facts(tmp_path)
    assert (apart.is_tied, tied.is_tied) == (False, True)
    assert apart.parameters - tied.parameters == apart.lm_head == 97 * 32 and tied.lm_head == 0


def test_linear_layers_are_all_matrices_but_tables_and_head(folders):
    found = facts.read_facts(folders / "gpt2")
    assert len(found.linears) == 2 * 4
    assert found.matrices == 2 * (32 * 96 + 32 * 32 + 2 * 32 * 128)


def test_shards_are_read_as_one(folders, tmp_path):
    small_architectures.random("llama").save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert facts.read_facts(tmp_path).parameters == facts.read_facts(folders / "llama").parameters


@pytest.mark.parametrize(("text", "words"), [("{", "not JSON"), ("[]", "not a JSON object")])
def test_a_config_that_is_none_is_one_sentence(tmp_path, text, words):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=rf"config.json: it is {words}.*; repair it"):
        facts.read_facts(tmp_path)
