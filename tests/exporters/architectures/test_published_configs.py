"""Models as their publishers describe them, made small: drawn with the logits of PyTorch, or refused for a reason."""

import json

import numpy as np
import pytest
import torch
from published_configs import DRAWN, REFUSED
from transformers import AutoConfig, AutoModelForCausalLM

from refrain.exporters.architectures import families
from refrain.exporters.onnx import graph
from refrain.pipeline.export_schema import QuantizationConfig
from refrain.runtime import loading

LAYERS, HEADS, HEAD_DIM, CONTEXT = 4, 4, 32, 96
SMALL = {
    "vocab_size": 300, "hidden_size": HEADS * HEAD_DIM, "n_embd": HEADS * HEAD_DIM, "intermediate_size": 80,
    "ffn_dim": 80, "num_hidden_layers": LAYERS, "n_layer": LAYERS, "num_layers": LAYERS, "num_attention_heads": HEADS,
    "n_head": HEADS, "num_heads": HEADS, "head_dim": 48, "max_position_embeddings": CONTEXT, "n_positions": CONTEXT,
    "original_max_position_embeddings": 32, "window_size": 7, "word_embed_proj_dim": HEADS * HEAD_DIM,
    "initializer_range": 0.1, "init_std": 0.1,
}  # fmt: skip
IDS = np.random.default_rng(0).integers(1, 300, (2, 61))


def shrink(config):
    """The same flags and fields, with dimensions that a test has time for."""
    small = {name: SMALL.get(name, value) if value is not None else None for name, value in config.items()}
    small = {name: value for name, value in small.items() if not name.endswith("_token_id")}
    if (kv_heads := config.get("num_key_value_heads")) is not None:
        small["num_key_value_heads"] = {1: 1, config["num_attention_heads"]: HEADS}.get(kv_heads, 2)
    for name in ("layer_types", "no_rope_layers"):
        if name in config:
            small[name] = config[name][-LAYERS:]
    if config.get("sliding_window") is not None:
        small["sliding_window"] = 9
    scaling = config.get("rope_scaling")
    if scaling is not None and "original_max_position_embeddings" in scaling:
        small["rope_scaling"] = scaling | {"original_max_position_embeddings": 32}
    elif scaling is not None:
        pairs = int(HEAD_DIM * config.get("partial_rotary_factor", 1)) // 2
        small["rope_scaling"] = {name: value if name == "type" else value[:pairs] for name, value in scaling.items()}
    return small | {"pad_token_id": 0}


def save_small(config, folder):
    """Random weights of a shrunken config.json, which stays as it is."""
    (folder / "config.json").write_text(json.dumps(shrink(config)))
    torch.manual_seed(0)
    settings = {"attn_implementation": "eager", "dtype": torch.float32}
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), **settings).eval()
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(shrink(config)))
    return model


@pytest.mark.parametrize("name", DRAWN)
def test_a_published_model_is_drawn_with_the_logits_of_pytorch(name, tmp_path):
    model = save_small(DRAWN[name], tmp_path)
    families.require_drawable(tmp_path)
    graph.write_graph(tmp_path, tmp_path, QuantizationConfig(bits=32))
    lm = loading.load_model(tmp_path)
    with torch.no_grad():
        right = model(torch.from_numpy(IDS)).logits.numpy()
    slots = lm.allocate_slots(2)
    steps = [slots.prefill(0, IDS[0, :3], keep=3)[-1], slots.prefill(1, IDS[1, :40], keep=1)[-1]]
    got = [(0, 2, steps[0]), (1, 39, steps[1])]
    for at in range(20):  # rows of different lengths
        both = slots.decode(np.array([IDS[0, 3 + at], IDS[1, 40 + at]]))
        got += [(0, 3 + at, both[0]), (1, 40 + at, both[1])]
    near = {"atol": 2e-4 * right.std(), "rtol": 0}
    np.testing.assert_allclose(lm.forward(IDS, np.ones_like(IDS), None, 0)[0], right, **near)
    for row, at, logits in got:
        np.testing.assert_allclose(logits, right[row, at], **near)


@pytest.mark.parametrize("name", REFUSED)
def test_a_published_model_is_refused_for_what_the_graph_lacks(name, tmp_path):
    config, reason = REFUSED[name]
    save_small(config, tmp_path)
    with pytest.raises(ValueError, match=f"config.json: {reason}"):
        families.require_drawable(tmp_path)
