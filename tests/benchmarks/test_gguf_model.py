"""A GGUF file is the model it was written from: llama.cpp makes the same ids of a text, and the same logits of them."""

import json
from urllib.request import Request, urlopen

import numpy as np
import pytest
import torch
import traced_model
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

from benchmarks.harness import gguf_model, gguf_tokenizer, llama_server
from refrain.chat import encoding

VOCABULARY = 272  # rows of the table, of which the tokenizer fills 259
SHAPE = {
    "vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 256,
    "initializer_range": 0.15, "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip
STRETCHED = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
             "original_max_position_embeddings": 32}  # fmt: skip
CONFIGS = {
    "llama": LlamaConfig(**SHAPE, tie_word_embeddings=True, rope_theta=5000.0),
    "a head of its own": LlamaConfig(**SHAPE, tie_word_embeddings=False),
    "llama3 positions": LlamaConfig(**SHAPE, rope_scaling=STRETCHED),
    "biases": LlamaConfig(**SHAPE, attention_bias=True),
    "mistral": MistralConfig(**SHAPE, sliding_window=None),
    "qwen2": Qwen2Config(**SHAPE | {"head_dim": 16}),
    "qwen3": Qwen3Config(**SHAPE),
}
TEXT = "Wie heißt, was 12345 mal 🎉 macht?  Don't ask\n\n<|im_end|>"
THRESHOLD = 1e-3  # of a log-probability; a forgotten permutation makes it 0.4 and more


def make_folder(folder, name):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[name]).eval()
    for parameter in model.parameters():  # biases and norms that are not all zeros or ones
        if parameter.dim() == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    traced_model.tokenizer().save(str(folder / "tokenizer.json"))
    settings = {"eos_token": "<|im_end|>", "chat_template": traced_model.TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return model


def post(url, body):
    with urlopen(Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})) as response:
        return json.load(response)


def log_probabilities(url, ids, letter):
    """Of every token after these ids. The bias lets a plain letter follow: for an end llama.cpp tells none."""
    body = {"prompt": ids, "n_predict": 1, "n_probs": VOCABULARY, "temperature": 0, "cache_prompt": False,
            "post_sampling_probs": False, "logit_bias": [[letter, 10000.0]]}  # fmt: skip
    answer = post(f"{url}/completion", body)["completion_probabilities"][0]["top_logprobs"]
    assert len(answer) == VOCABULARY
    return np.array([each["logprob"] for each in sorted(answer, key=lambda each: each["id"])])


@pytest.mark.parametrize("name", CONFIGS)
def test_llama_cpp_makes_the_same_ids_and_logits(name, tmp_path):
    model = make_folder(tmp_path, name)
    tokenizer = encoding.load_tokenizer(tmp_path)
    gguf_model.write(tmp_path, tmp_path / "model.gguf", "f32")
    messages = [{"role": "user", "content": TEXT.removesuffix("<|im_end|>")}]
    ids = encoding.encode_prompt(tokenizer, messages)
    with llama_server.run_server(tmp_path / "model.gguf", "--fp32", "--slots", "1", "--threads", "1") as url:
        prompt = post(f"{url}/apply-template", {"messages": messages})["prompt"]
        assert post(f"{url}/tokenize", {"content": prompt, "parse_special": True})["tokens"] == ids
        for length in (1, 2, len(ids)):
            with torch.inference_mode():
                right = model(torch.tensor([ids[:length]])).logits[0, -1].log_softmax(-1).numpy()
            theirs = log_probabilities(url, ids[:length], ids[1])
            assert np.abs(theirs - right).max() < THRESHOLD


@pytest.mark.parametrize(
    ("pre_tokenizer", "name"),
    [
        ([{"type": "ByteLevel", "add_prefix_space": False}], "gpt-2"),
        ([{"type": "Digits", "individual_digits": True}, {"type": "ByteLevel", "add_prefix_space": False}], "smollm"),
        ([{"type": "Split", "pattern": {"Regex": r"\p{N}{1,3}| ?x"}},
          {"type": "ByteLevel", "add_prefix_space": False}], "llama-bpe"),
        ([{"type": "Split", "pattern": {"Regex": r"\p{N}| ?x"}},
          {"type": "ByteLevel", "add_prefix_space": False}], "qwen2"),
        ([{"type": "Whitespace"}], None),
        ([{"type": "ByteLevel", "add_prefix_space": True}], None),
    ],
)  # fmt: skip
def test_a_pre_tokenizer_has_its_name_or_is_refused(pre_tokenizer, name):
    content = {
        "model": {"type": "BPE"},
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": pre_tokenizer},
    }
    if name is None:
        with pytest.raises(ValueError, match="no name"):
            gguf_tokenizer.name_pre_tokenizer(content)
    else:
        assert gguf_tokenizer.name_pre_tokenizer(content) == name


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"model_type": "falcon"}, "falcon"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "yarn"),
        ({"hidden_act": "relu"}, "relu"),
        ({"model_type": "qwen2"}, "head_dim"),
    ],
)
def test_what_has_no_place_in_a_file_is_refused_and_no_file_is_left(config, why, tmp_path):
    make_folder(tmp_path, "llama")
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | config))
    with pytest.raises(ValueError, match=why):
        gguf_model.write(tmp_path, tmp_path / "model.gguf", "f32")
    assert not (tmp_path / "model.gguf").exists()
