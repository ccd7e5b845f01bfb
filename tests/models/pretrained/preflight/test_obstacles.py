"""What keeps a model from going all the way is one sentence, and it names file and field."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import AddedToken, Tokenizer
from transformers import GPTJConfig, GPTJForCausalLM

from refrain.chat import encoding
from refrain.models.pretrained.preflight.obstacles import find_obstacles

ONE = np.ones(1, np.float32)


@pytest.fixture
def folder(base, tmp_path):
    return shutil.copytree(base, tmp_path / "model")


def edit(folder, name="config.json", drop=(), **values):
    path = folder / name
    kept = {key: value for key, value in json.loads(path.read_text()).items() if key not in drop}
    path.write_text(json.dumps(kept | values))


def rewrite(folder, change):
    """The tensors by name, changed."""
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, {"format": "pt"})


def test_the_way_is_open_for_a_model_as_it_is_saved(base):
    assert find_obstacles(base) == []


ROPE = {"rope_type": "longrope", "short_factor": [1.0] * 16, "long_factor": [2.0] * 16, "factor": 2.0}
CONFIGS = {
    "quantised": ({"quantization_config": {"quant_method": "gptq"}}, ["quantization_config", "method=qlora"]),
    "float8": ({"torch_dtype": "float8_e4m3fn"}, ["torch_dtype=float8_e4m3fn"]),
    "heads and groups": ({"num_key_value_heads": 3}, ["num_attention_heads=4", "num_key_value_heads=3"]),
    "heads": ({"num_attention_heads": 5, "num_key_value_heads": 5, "head_dim": None}, ["hidden_size=64", "heads=5"]),
    "table": ({"vocab_size": 328}, ["vocab_size=328", "model.safetensors has", "write vocab_size="]),
    "too few layers": ({"num_hidden_layers": 1}, ["num_hidden_layers=1", "model.layers.1."]),
    "too many layers": ({"num_hidden_layers": 3}, ["num_hidden_layers=3", "ends with layer 1", "write 2"]),
    "text for a number": ({"hidden_size": "64"}, ["hidden_size='64'"]),
    "no epsilon": ({"rms_norm_eps": None}, ["rms_norm_eps=None"]),
    "padding": ({"pad_token_id": 999}, ["pad_token_id=999", "vocab_size="]),
    "activation": ({"hidden_act": "no_such"}, ["no_such"]),
    "family": ({"model_type": "no_such"}, ["model_type=no_such"]),
    "no words": ({"model_type": "vit"}, ["model_type=vit", "no causal language model"]),
    "encoder": ({"is_encoder_decoder": True}, ["is_encoder_decoder=true"]),
    "inside of another": ({"text_config": {}, "vision_config": {}}, ["text_config, vision_config"]),
    "other head": ({"architectures": ["LlamaForSequenceClassification"]}, ["LlamaForSequenceClassification"]),
    "both ways": ({"use_bidirectional_attention": True}, ["use_bidirectional_attention"]),
    "by layer": ({"per_layer_config": {"0": {}}}, ["per_layer_config"]),
    "layers of another kind": (
        {"model_type": "qwen2", "layer_types": ["full_attention", "linear_attention"]},
        ["no qwen2 can be built of it", "linear_attention"],
    ),
    "by length": ({"rope_scaling": ROPE, "original_max_position_embeddings": 64}, ["longrope", "beyond 64 tokens"]),
    "rotary type": ({"rope_scaling": {"rope_type": "no_such"}}, ["no_such"]),
    "rotary base": ({"rope_theta": "1e6"}, ["rope_theta='1e6'"]),
    "odd head": ({"head_dim": 15}, ["15 numbers of a head"]),
    "no rotary base": ({"rope_theta": None}, ["rope_theta=None"]),
    "part of a head": ({"partial_rotary_factor": 0.5}, ["partial_rotary_factor=0.5", "llama turns whole heads"]),
    "context as text": ({"max_position_embeddings": "256"}, ["max_position_embeddings='256'"]),
    "no end of context": ({"max_position_embeddings": 10**12}, ["max_position_embeddings=1000000000000"]),
    "no groups": ({"num_key_value_heads": 0}, ["num_key_value_heads=0"]),
    "text for a flag": ({"attention_bias": "false"}, ["attention_bias='false'", "true or false"]),
    "several to pad with": ({"pad_token_id": [0]}, ["pad_token_id=[0]"]),
    "end as text": ({"eos_token_id": ["2"]}, ["eos_token_id=['2']"]),
    "name of a type": ({"torch_dtype": "bf16"}, ["torch_dtype=bf16", "bfloat16"]),
    "no factor": ({"rope_scaling": {"rope_type": "linear", "factor": 0}}, ["factor=0"]),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_field_that_closes_the_way_is_named(folder, kind):
    values, words = CONFIGS[kind]
    edit(folder, **values)
    (sentence,) = find_obstacles(folder)
    assert [word for word in ["config.json", "; ", *words] if word not in sentence] == [], sentence


QUERY = "model.layers.0.self_attn.q_proj"
WEIGHTS = {
    "missing": (lambda all: without(all, "lm_head.weight"), ["lm_head.weight", "missing", "tie_word_embeddings"]),
    "prefix": (lambda all: rename_tensors(all, "module.{}"), ["module.lm_head.weight", "'module.'"]),
    "inner prefix": (lambda all: rename_tensors(all, "base_model.model.{}"), ["'base_model.model.'"]),
    "prefix behind": (
        lambda all: rename_parts(all, "model.", "model.language_model."),
        ["model.language_model.embed_tokens.weight", "'language_model.'"],
    ),
    "nothing": (lambda all: {}, ["lm_head.weight", "missing"]),
    "shape": (lambda all: all | {"model.norm.weight": all["model.norm.weight"][:5]}, ["model.norm.weight", "[5]"]),
    "left over": (lambda all: all | {"score.weight": ONE}, ["score.weight", "no place"]),
    "bias": (lambda all: all | {f"{QUERY}.bias": ONE}, [f"{QUERY}.bias", "no place in model_type=llama"]),
    "adapter": (lambda all: all | {f"{QUERY}.lora_A.weight": ONE}, ["lora_A", "adapter"]),
    "scales": (lambda all: all | {f"{QUERY}.weight_scale": ONE}, ["weight_scale", "few bits"]),
    "codes": (lambda all: all | {f"{QUERY}.weight": all[f"{QUERY}.weight"].astype(np.int8)}, [QUERY, "I8"]),
}


def without(all, name):
    return {other: tensor for other, tensor in all.items() if other != name}


def rename_parts(all, old, new):
    return {name.replace(old, new, 1): tensor for name, tensor in all.items()}


def rename_tensors(all, pattern):
    return {pattern.format(name): tensor for name, tensor in all.items()}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_a_tensor_that_is_not_what_config_json_promises_is_named(folder, kind):
    change, words = WEIGHTS[kind]
    rewrite(folder, change)
    (sentence,) = find_obstacles(folder)
    assert [word for word in ["model.safetensors", "; ", *words] if word not in sentence] == [], sentence


def test_buffers_of_old_versions_are_no_weights(folder):
    GPTJForCausalLM(GPTJConfig(vocab_size=320, n_embd=64, n_layer=1, n_head=4, rotary_dim=8)).save_pretrained(folder)
    old = {"bias": np.ones((1, 1, 64, 64), bool), "masked_bias": np.array(-1e4, np.float32)}
    rewrite(folder, lambda all: all | {f"transformer.h.0.attn.{name}": value for name, value in old.items()})
    assert find_obstacles(folder) == []


def test_half_precision_and_the_names_of_the_inner_model_alone_are_read(folder):
    edit(folder, tie_word_embeddings=True)
    rewrite(folder, lambda all: {name.removeprefix("model."): tensor.astype(np.float16)
                                 for name, tensor in without(all, "lm_head.weight").items()})  # fmt: skip
    assert find_obstacles(folder) == []


def test_a_head_that_is_stored_beside_a_tied_table_must_be_the_table(folder):
    edit(folder, tie_word_embeddings=True)
    (sentence,) = find_obstacles(folder)
    assert "tie_word_embeddings=true" in sentence and "lm_head.weight" in sentence
    rewrite(folder, lambda all: all | {"lm_head.weight": all["model.embed_tokens.weight"]})
    assert find_obstacles(folder) == []


def add_token(folder, token):
    """A token one row beyond the table."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens([token])
    tokenizer.save(str(folder / "tokenizer.json"))


def test_a_token_beyond_the_table_may_stay_where_nothing_can_write_it(folder):
    add_token(folder, AddedToken("<image>", special=True))
    assert find_obstacles(folder) == []
    edit(folder, "tokenizer_config.json", chat_template="{{ '<image>' }}")
    (sentence,) = find_obstacles(folder)
    assert "tokenizer.json: '<image>'" in sentence and "chat template" in sentence
    edit(folder, "tokenizer_config.json", chat_template="", pad_token="<image>")
    assert "pad_token of tokenizer_config.json" in find_obstacles(folder)[0]
    with pytest.raises(ValueError, match=r"writes '<image>', whose id .* choose another template"):
        encoding.load_tokenizer(folder, "{{ messages[0].content }}<image>")


def test_a_word_beyond_the_table_may_come_up_in_any_text(folder):
    add_token(folder, AddedToken("amber"))
    (sentence,) = find_obstacles(folder)
    assert "tokenizer.json: 'amber'" in sentence and "any text" in sentence


def test_a_piece_of_words_beyond_the_table_may_come_up_too(folder):
    rows = json.loads((folder / "config.json").read_text())["vocab_size"] - 1
    edit(folder, vocab_size=rows)
    rewrite(
        folder, lambda all: all | {name: all[name][:rows] for name in ("model.embed_tokens.weight", "lm_head.weight")}
    )
    (sentence,) = find_obstacles(folder)
    assert f"has the id {rows}, but the table has {rows} rows" in sentence


FILES = {
    "tokenizer.json": ('{"model": {"type": "NoSuch"}}', "cannot be read"),
    "generation_config.json": ('{"max_new_tokens": -3}', "max_new_tokens"),
    "special_tokens_map.json": ('{"eos_token": }', "not JSON (Expecting value"),
    "tokenizer_config.json": (None, "missing"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_read_is_named(folder, name):
    text, words = FILES[name]
    (folder / name).unlink() if text is None else (folder / name).write_text(text)
    (sentence,) = find_obstacles(folder)
    assert sentence.startswith(name) and words in sentence and "; " in sentence


def test_the_end_in_generation_config_is_the_number_of_a_token(folder):
    (folder / "generation_config.json").write_text('{"eos_token_id": "2"}')
    (sentence,) = find_obstacles(folder)
    assert sentence.startswith("generation_config.json: eos_token_id='2'")


OPEN = {
    "nulls that transformers cannot read": {"quantization_config": None, "auto_map": None},
    "one set of factors for the whole context": {"rope_scaling": ROPE},
}


@pytest.mark.parametrize("kind", OPEN)
def test_a_field_that_closes_nothing_is_no_obstacle(folder, kind):
    edit(folder, **OPEN[kind])
    assert find_obstacles(folder) == []


def test_a_tensor_that_the_index_does_not_name_is_missing_as_transformers_has_it(folder):
    names = list(load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    named = {name: "model-00001-of-00001.safetensors" for name in names if not name.startswith(QUERY)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": named}))
    (sentence,) = find_obstacles(folder)
    assert f"{QUERY}.weight, which config.json promises, is missing" in sentence


def test_a_token_of_the_settings_alone_is_missing_where_the_template_writes_it(folder):
    tokens = {"9": {"content": "<|tool|>", "special": True}}
    edit(folder, "tokenizer_config.json", added_tokens_decoder=tokens)
    assert find_obstacles(folder) == []
    edit(folder, "tokenizer_config.json", chat_template="{{ '<|tool|>' }}")
    (sentence,) = find_obstacles(folder)
    assert "'<|tool|>', which the chat template writes and tokenizer.json does not have" in sentence
