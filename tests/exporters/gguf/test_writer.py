"""A GGUF file is the model it was written from: llama.cpp makes the same log-probabilities, and a fault shows."""

import json

import gguf
import gguf_models
import numpy as np
import pytest
from gguf import GGUFReader, TokenType

from refrain.chat import encoding
from refrain.exporters.architectures import decoder, llama_cpp
from refrain.exporters.gguf import llama_client, llama_server, settings, tensors, vocabulary, writer

TEXT = "Wie heißt, was 12345 mal 🎉 macht?"
OPTIONS = ("--fp32", "--slots", "1", "--threads", "1", "--context", "64")


def distances(file, model, ids, lengths):
    """How far llama.cpp's next tokens are from the model's, after so many of the ids."""
    with llama_server.run_server(file, *OPTIONS) as url:
        found = [llama_client.log_probabilities(url, ids[:n], gguf_models.VOCABULARY, ids[1]) for n in lengths]
    right = [gguf_models.log_probabilities(model, ids[:n]) for n in lengths]
    return [gguf_models.distance(*pair) for pair in zip(right, found, strict=True)]


def prompt(folder):
    return encoding.encode_prompt(encoding.load_tokenizer(folder), [{"role": "user", "content": TEXT}])[:60]


@pytest.mark.heavy
@pytest.mark.parametrize("name", gguf_models.CONFIGS)
def test_llama_cpp_says_of_every_token_what_the_model_says(name, tmp_path):
    model = gguf_models.make_folder(tmp_path, gguf_models.CONFIGS[name])
    writer.write_file(tmp_path, tmp_path / "model.gguf", "f32")
    found = distances(tmp_path / "model.gguf", model, ids := prompt(tmp_path), (1, 17, len(ids)))
    assert max(found) < gguf_models.limit_of(gguf_models.CONFIGS[name])


def unpaired(monkeypatch):
    monkeypatch.setattr(tensors, "pair_neighbours", lambda linear, heads: linear)


def without_factors(monkeypatch):
    monkeypatch.setattr(tensors, "list_rope_factors", lambda decoder, layer: iter(()))


def without_one(monkeypatch):
    """Gemma's norms as they are stored, less by one."""
    name_norm = tensors.name_norm
    monkeypatch.setattr(
        tensors, "name_norm", lambda graph, name, norm: name_norm(graph, name, norm and decoder.Norm(norm.weight - 1))
    )


def without_local_base(monkeypatch):
    """llama.cpp takes 10,000 for layers with a window, which a model may not have."""
    monkeypatch.setattr(settings, "describe_local_base", lambda writer, narrow, full: None)


def without_scaling(monkeypatch):
    monkeypatch.setattr(settings, "describe_scaling", lambda writer, rotary, context: None)


FAULTS = {
    "queries and keys in the order of transformers": ("llama", unpaired),
    "no rope_freqs": ("llama3 positions", without_factors),
    "norms without their one": ("gemma3", without_one),
    "no stretch by a factor": ("linear positions", without_scaling),
    "no stretch by yarn": ("yarn positions", without_scaling),
}


@pytest.mark.heavy
@pytest.mark.parametrize(("name", "plant"), FAULTS.values(), ids=FAULTS)
def test_a_file_with_a_fault_is_far_off(name, plant, tmp_path, monkeypatch):
    model = gguf_models.make_folder(tmp_path, gguf_models.CONFIGS[name])
    plant(monkeypatch)
    writer.write_file(tmp_path, tmp_path / "model.gguf", "f32")
    ids = prompt(tmp_path)
    assert max(distances(tmp_path / "model.gguf", model, ids, (17, len(ids)))) > 5 * gguf_models.LIMIT * 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama")
    gguf_models.make_folder(folder, gguf_models.CONFIGS["llama"])
    return folder


@pytest.mark.parametrize("kind", writer.TYPES)
def test_the_same_model_gives_the_same_bytes_in_every_type(kind, folder, tmp_path):
    files = [tmp_path / "one.gguf", tmp_path / "two.gguf"]
    for file in files:
        writer.write_file(folder, file, kind, {"general.name": "one"})
    assert files[0].read_bytes() == files[1].read_bytes()
    kinds = {each.name: each.tensor_type.name for each in GGUFReader(files[0]).tensors}
    table = "Q8_0" if kind == "q4_0" else kind.upper()
    assert kinds["token_embd.weight"] == table
    assert {kinds["output_norm.weight"], kinds["blk.0.attn_norm.weight"]} == {"F32"}
    assert kinds["blk.0.attn_q.weight"] == kind.upper() and "output.weight" not in kinds


def test_rows_that_no_block_fills_are_f16(folder, tmp_path):
    """The feed-forward net of 48 numbers is one and a half blocks wide."""
    writer.write_file(folder, tmp_path / "model.gguf", "q8_0")
    kinds = {each.name: each.tensor_type.name for each in GGUFReader(tmp_path / "model.gguf").tensors}
    assert kinds["blk.0.ffn_down.weight"] == "F16" and kinds["blk.0.ffn_up.weight"] == "Q8_0"


def read_keys(file):
    return {name: field.contents() for name, field in GGUFReader(file).fields.items()}


def test_keys_say_who_begins_and_ends_a_text_and_what_fills_the_table(folder, tmp_path):
    writer.write_file(folder, tmp_path / "model.gguf", "f32", {"refrain.seal": "abc"})
    keys = read_keys(tmp_path / "model.gguf")
    tokens, types = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
    assert len(tokens) == len(types) == keys["llama.vocab_size"] == gguf_models.VOCABULARY
    assert tokens[258:260] == ["<|im_end|>", "[PAD259]"]
    assert types[257:260] == [TokenType.CONTROL, TokenType.CONTROL, TokenType.UNUSED]
    assert tokens[keys["tokenizer.ggml.eos_token_id"]] == "<|im_end|>"
    assert types[keys["tokenizer.ggml.bos_token_id"]] == TokenType.CONTROL  # 11 where nothing says so
    assert keys["tokenizer.ggml.add_bos_token"] is False and keys["tokenizer.ggml.pre"] == "gpt-2"
    assert keys["refrain.seal"] == "abc" and keys["general.quantization_version"] == gguf.GGML_QUANT_VERSION


REFUSED = {
    "falcon": ({"model_type": "falcon"}, "model_type=falcon is not written as GGUF; those that are: llama"),
    "activation": ({"hidden_act": "relu"}, "its activation is relu, which llama.cpp's llama does not have"),
    "narrow heads": ({"model_type": "qwen2"}, "head_dim=16 makes all heads wider"),
    "a field of its own": ({"query_pre_attn_scalar": 8}, "query_pre_attn_scalar has no meaning"),
}


@pytest.mark.parametrize(("config", "why"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_place_in_a_file_is_refused_and_no_file_is_left(config, why, folder, tmp_path):
    for name in ("model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).symlink_to(folder / name)
    values = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | config))
    with pytest.raises(ValueError, match=why):
        writer.write_file(tmp_path, tmp_path / "model.gguf", "f32")
    assert not (tmp_path / "model.gguf").exists()


def test_a_window_in_every_layer_is_how_much_a_file_sees(tmp_path):
    config = gguf_models.tf.MistralConfig(**gguf_models.SHAPE, sliding_window=24)
    gguf_models.make_folder(tmp_path, config)
    writer.write_file(tmp_path, tmp_path / "model.gguf", "f32")
    assert read_keys(tmp_path / "model.gguf")["llama.context_length"] == 24


def test_two_pairs_of_a_head_stand_side_by_side():
    rows = np.arange(8, dtype=np.float32).reshape(8, 1)
    turned = tensors.pair_neighbours(decoder.Linear(rows, rows[:, 0]), 2)
    assert turned.weight[:, 0].tolist() == turned.bias.tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_tensors_have_the_names_that_the_gguf_package_knows(folder):
    graph = llama_cpp.find_graph(folder)
    layers, _ = llama_cpp.families.read_decoder(folder)
    known = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, layers.layers).mapping
    names = {name.removesuffix(".weight") for name, _ in tensors.list_tensors(layers, graph)}
    assert names <= {name for _, name in known.values()}


def test_scores_make_llama_cpp_merge_in_the_order_of_merges():
    content = {"model": {"merges": [["a", "b"], "b c", ["ab", "c"], ["a", "bc"]]}}
    assert vocabulary.score_tokens(content, ["a", "ab", "bc", "abc"]) == [vocabulary.UNSCORED, 0, -1, -2]
    assert vocabulary.join_merge("a b", "c") == "a\u0120b c"
