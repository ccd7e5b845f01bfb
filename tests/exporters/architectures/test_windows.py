"""A window is where transformers has one: each family reads its own fields, and a stray one means nothing."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from refrain.exporters.architectures import families
from refrain.exporters.onnx import graph
from refrain.pipeline.export_schema import QuantizationConfig
from refrain.runtime import loading

SHAPE = {
    "vocab_size": 300, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 96, "initializer_range": 0.15, "head_dim": 16,
    "pad_token_id": 0, "hidden_act": "gelu_pytorch_tanh",
}  # fmt: skip
IDS = np.random.default_rng(0).integers(1, 300, (1, 61))
FULL, SLIDING = "full_attention", "sliding_attention"
STRAY = {"sliding_window": 5, "use_sliding_window": True, "max_window_layers": 1, "layer_types": [SLIDING] * 4}
SWITCHED_OFF = {"sliding_window": 5, "use_sliding_window": False, "max_window_layers": 0}
BY_TYPE = {"sliding_window": 5, "use_sliding_window": True, "layer_types": [FULL, SLIDING, SLIDING, FULL]}
FIELDS = [
    ("llama", STRAY, [None] * 4),
    ("llama", SWITCHED_OFF, [None] * 4),
    ("mistral", SWITCHED_OFF, [5] * 4),
    ("mistral", BY_TYPE, [None, 5, 5, None]),
    ("mistral", {"sliding_window": 5, "layer_types": None}, [5] * 4),
    ("mistral", {"sliding_window": None}, [None] * 4),
    ("ministral", {"sliding_window": 5}, [5] * 4),
    ("mistral", {}, [4096] * 4),
    ("phi3", SWITCHED_OFF, [5] * 4),
    ("starcoder2", BY_TYPE, [5] * 4),
    ("granite", STRAY, [None] * 4),
    ("qwen2", {"sliding_window": 5, "max_window_layers": 0}, [None] * 4),
    ("qwen2", SWITCHED_OFF, [None] * 4),
    ("qwen2", {"sliding_window": 5, "use_sliding_window": True, "max_window_layers": 3}, [None, None, None, 5]),
    ("qwen2", BY_TYPE | {"max_window_layers": 0}, [None, 5, 5, None]),
    ("qwen3", {"use_sliding_window": True}, [None] * 4),
    ("qwen3", BY_TYPE, [None, 5, 5, None]),
    ("gemma", STRAY, [None] * 4),
    ("gemma2", {"sliding_window": 5, "sliding_window_pattern": 3}, [5, None, 5, None]),
    ("gemma2", {"sliding_window": 5, "layer_types": [FULL, FULL, SLIDING, FULL]}, [None, None, 5, None]),
    ("gemma3_text", {"sliding_window": 5, "sliding_window_pattern": 3}, [5, 5, None, 5]),
    ("gemma3_text", {"sliding_window": 5, "_sliding_window_pattern": 2, "use_sliding_window": False}, [5] * 4),
    ("smollm3", STRAY | {"no_rope_layer_interval": 2}, [5] * 4),
    ("smollm3", {"sliding_window": 5, "no_rope_layers": [1, 0, 1, 1]}, [None] * 4),
]


@pytest.mark.parametrize("family, fields, windows", FIELDS)
def test_training_proof_and_serving_see_the_same_windows(family, fields, windows, tmp_path):
    config = SHAPE | fields | {"model_type": family}
    (tmp_path / "config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tmp_path)).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager").eval()
    with torch.no_grad():
        right = model(torch.from_numpy(IDS), use_cache=False).logits.numpy()
    graph.write_graph(tmp_path, tmp_path, QuantizationConfig(bits=32))
    decoder, _ = families.read_decoder(tmp_path)
    assert [decoder.read_layer(i).window for i in range(decoder.layers)] == windows
    got = loading.load_model(tmp_path).forward(IDS, np.ones_like(IDS), None, 0)[0]
    assert np.abs(got - right).max() < 1e-4
