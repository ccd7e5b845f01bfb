"""Small random models of every family that llama.cpp has, in folders with a tokenizer, and what they say themselves."""

import copy
import json
from pathlib import Path

import numpy as np
import torch
import traced_model
import transformers as tf
from numpy.typing import NDArray
from small_architectures import OWN_WIDTH, SHAPE
from transformers import AutoModelForCausalLM, PreTrainedModel

from refrain.evaluation import divergence
from refrain.exporters.gguf.proof import FLOOR, TABLE_SLACK

VOCABULARY = 272  # rows of the table, of which the tokenizer fills 259
LIMIT = 1e-3  # standard deviations of logits
WINDOW = {"sliding_window": 8}
DEEP = SHAPE | {
    "num_hidden_layers": 7,
    "layer_types": ["sliding_attention"] * 5 + ["full_attention", "sliding_attention"],
}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
WITHOUT_GROUPS = {name: value for name, value in OWN_WIDTH.items() if name != "num_key_value_heads"}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "initializer_range": 0.3}
CONFIGS = {
    "llama": tf.LlamaConfig(**SHAPE, tie_word_embeddings=True, rope_theta=5000.0),
    "llama with a head of its own": tf.LlamaConfig(**SHAPE, tie_word_embeddings=False),
    "llama with biases": tf.LlamaConfig(**SHAPE, attention_bias=True, mlp_bias=True),
    "llama3 positions": tf.LlamaConfig(**SHAPE, rope_scaling=LLAMA3),
    "linear positions": tf.LlamaConfig(**SHAPE, rope_scaling={"rope_type": "linear", "factor": 2.0}),
    "mistral": tf.MistralConfig(**SHAPE, sliding_window=None),
    "qwen2": tf.Qwen2Config(**OWN_WIDTH),
    "yarn positions": tf.Qwen2Config(**OWN_WIDTH, rope_scaling=YARN),
    "qwen3": tf.Qwen3Config(**SHAPE),
    "gemma": tf.GemmaConfig(**SHAPE, hidden_act="gelu_pytorch_tanh"),
    "gemma2": tf.Gemma2Config(**SHAPE, **WINDOW, query_pre_attn_scalar=16, attn_logit_softcapping=2.0),
    "gemma3": tf.Gemma3TextConfig(**DEEP, **WINDOW, query_pre_attn_scalar=16),
    "phi": tf.PhiConfig(**OWN_WIDTH),
    "phi3": tf.Phi3Config(**OWN_WIDTH, pad_token_id=0),
    "granite": tf.GraniteConfig(**OWN_WIDTH, attention_multiplier=0.3, embedding_multiplier=3.0,
                                residual_multiplier=0.5, logits_scaling=2.0),
    "olmo2": tf.Olmo2Config(**OWN_WIDTH),
    "stablelm": tf.StableLmConfig(**OWN_WIDTH),
    "stablelm in parallel": tf.StableLmConfig(**OWN_WIDTH, use_parallel_residual=True, use_qkv_bias=True),
    "smollm3": tf.SmolLM3Config(**OWN_WIDTH | {"num_hidden_layers": 5}, pad_token_id=0),
    "starcoder2": tf.Starcoder2Config(**OWN_WIDTH, sliding_window=None),
    "cohere": tf.CohereConfig(**OWN_WIDTH),
    "gpt2": tf.GPT2Config(**GPT2, vocab_size=VOCABULARY),
    "gpt_neox": tf.GPTNeoXConfig(**WITHOUT_GROUPS, rotary_pct=0.5),
    "gpt_neox one after the other": tf.GPTNeoXConfig(**WITHOUT_GROUPS, use_parallel_residual=False),
}  # fmt: skip


def make_folder(folder: Path, config: tf.PretrainedConfig, rows: int = VOCABULARY) -> PreTrainedModel:
    """The model, and the folder that a stage would merge it into."""
    config = copy.deepcopy(config)
    config.vocab_size, config.bos_token_id, config.eos_token_id, config.pad_token_id = rows, None, None, None
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()
    for parameter in model.parameters():  # biases and norms that are not all zeros or ones
        if parameter.dim() == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return model


def save_tokenizer(folder: Path, **settings: str) -> None:
    traced_model.tokenizer().save(str(folder / "tokenizer.json"))
    settings = {"eos_token": "<|im_end|>", "chat_template": traced_model.TEMPLATE, **settings}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def log_probabilities(model: PreTrainedModel, ids: list[int]) -> NDArray[np.float32]:
    """Of the next token after these ids."""
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits[0, -1].log_softmax(-1).numpy()


def distance(reference: NDArray[np.float32], candidate: NDArray[np.float32]) -> float:
    """The largest difference, in standard deviations of the reference."""
    pair = (np.maximum(each, FLOOR)[None] for each in (reference, candidate))
    return float(divergence.relative_differences(*pair)[0][0])


def limit_of(config: tf.PretrainedConfig) -> float:
    """What a right file may be off: more where ggml looks GELU up in a table."""
    values = config.to_dict()
    activation = values.get("hidden_activation") or values.get("hidden_act") or values["activation_function"]
    return LIMIT * (1 if activation == "silu" else TABLE_SLACK)
