"""genai_config.json: what it says is so, and onnxruntime-genai takes the very tokens that we take, in either graph."""

import json

import numpy as np
import onnxruntime_genai as genai
import pytest
import torch
from transformers import AutoModelForCausalLM, BloomConfig, Gemma3TextConfig, GPT2Config, OPTConfig, Qwen3Config

from refrain.chat import model_folder
from refrain.exporters.onnx import exporter
from refrain.models.pytorch import loading
from refrain.pipeline.export_schema import QuantizationConfig
from refrain.runtime import loading as runtime

SHAPE = {"vocab_size": 320, "hidden_size": 64, "initializer_range": 0.15, "num_attention_heads": 4,
         "num_hidden_layers": 2, "intermediate_size": 96, "max_position_embeddings": 96}  # fmt: skip
FAMILIES = {
    "qwen3, normed heads": Qwen3Config(**SHAPE, num_key_value_heads=2, head_dim=32),
    "gemma3, a window": Gemma3TextConfig(**SHAPE, num_key_value_heads=1, head_dim=32, sliding_window=5,
                                         tie_word_embeddings=False),
    "gpt2, learned positions": GPT2Config(vocab_size=320, n_embd=64, n_layer=2, n_head=4, n_positions=96,
                                          initializer_range=0.15),
    "opt, heads of 12": OPTConfig(vocab_size=320, hidden_size=48, ffn_dim=96, num_hidden_layers=2, init_std=0.15,
                                  num_attention_heads=4, max_position_embeddings=96, word_embed_proj_dim=48),
    "bloom, no end": BloomConfig(vocab_size=320, hidden_size=64, n_layer=2, n_head=4, initializer_range=0.5),
}  # fmt: skip
PROMPT, STEPS = [5, 9, 60, 2, 200, 3, 7, 0, 250], 24  # with the end of a reply and the padding in it


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, adapter, talk, tmp_path_factory):
    """What the merge stage leaves of a random model."""
    folder = tmp_path_factory.mktemp("merged")
    torch.manual_seed(0)
    loading.save_for_serving(AutoModelForCausalLM.from_config(FAMILIES[request.param]), talk.stop_ids, folder)
    model_folder.copy_tokenizer(adapter, folder, talk.template)
    return folder


def export(merged, out, bits=32, graph=None):
    weights = QuantizationConfig(bits, 32, head_bits=8) if bits < 32 else QuantizationConfig(32)
    exporter.export_variant(merged, out, weights, exporter.choose_graph(merged, graph), 18)
    return out


def greedy_by_genai(folder):
    """The likeliest tokens, the end of a reply among them or not."""
    model = genai.Model(str(folder))
    params = genai.GeneratorParams(model)
    length = len(PROMPT) + STEPS
    params.set_search_options(max_length=length)
    generator = genai.Generator(model, params)
    generator.append_tokens(PROMPT)
    while not generator.is_done():
        generator.generate_next_token()
    return [int(token) for token in generator.get_sequence(0)[len(PROMPT) :]]


def greedy(folder, stop_ids):
    """The likeliest tokens up to the end of a reply, by our own session."""
    slots, tokens = runtime.load_model(folder).allocate_slots(1), []
    logits = slots.prefill(0, np.array(PROMPT))
    while len(tokens) < STEPS and not stop_ids & {*tokens}:
        tokens.append(int(logits[-1].argmax()))
        logits = slots.decode(np.array(tokens[-1:]))
    return tokens


@pytest.mark.heavy
@pytest.mark.parametrize(("bits", "graph"), [(32, None), (8, None), (32, "optimum")])
def test_it_takes_the_same_tokens(bits, graph, family, talk, tmp_path):
    folder = export(family, tmp_path / "fp32", 32, graph)
    if bits < 32:
        folder = export(family, tmp_path / "int8", bits, graph)
    tokens = greedy(folder, talk.stop_ids)
    assert len({*tokens}) > 2 and greedy_by_genai(folder)[: len(tokens)] == tokens


def test_it_says_where_a_reply_ends_and_names_a_padding(onnx, talk):
    told = json.loads((onnx / "int8/genai_config.json").read_text())["model"]
    assert {*told["eos_token_id"]} == talk.stop_ids
    assert isinstance(told["pad_token_id"], int)
