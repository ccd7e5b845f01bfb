"""Small models of random weights whose attention differs: by window, by norm, by how positions enter."""

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedModel,
    Qwen3Config,
)

SHAPE = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
}
LAYERS = ["sliding_attention", "full_attention"]
CONFIGS = {
    "llama": LlamaConfig(**SHAPE),
    "mistral": MistralConfig(**SHAPE, sliding_window=4),
    "qwen3": Qwen3Config(**SHAPE),
    "gemma3": Gemma3TextConfig(**SHAPE, sliding_window=4, layer_types=LAYERS, query_pre_attn_scalar=16),
    "gpt2": GPT2Config(vocab_size=97, n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.3),
}
PACKED = [name for name in CONFIGS if name != "gpt2"]  # its head keeps what it is told from its attention


def random(name: str) -> PreTrainedModel:
    """The same weights at every call, without dropout."""
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(CONFIGS[name], dtype=torch.float32).eval()
