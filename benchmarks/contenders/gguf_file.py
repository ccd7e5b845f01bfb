"""Hugging Face weights as a GGUF file, as llama.cpp's own converter writes them, without a vocabulary."""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import load_file

CONV1D = ("c_attn.weight", "c_proj.weight", "c_fc.weight")  # GPT-2 keeps them inputs first
ROTATED = {"q_proj.weight": "num_attention_heads", "k_proj.weight": "num_key_value_heads"}
TABLES = {"token_embd.weight", "position_embd.weight"}  # of which a token reads a row


def write(source: Path, path: Path) -> None:
    """All weights in fp32."""
    config = json.loads((source / "config.json").read_text())
    rotary = "rope_theta" in config
    layers = config["num_hidden_layers" if rotary else "n_layer"]
    writer = gguf.GGUFWriter(path, "llama" if rotary else "gpt2")
    describe_llama(writer, config) if rotary else describe_gpt2(writer, config)
    writer.add_block_count(layers)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("none")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA if rotary else gguf.MODEL_ARCH.GPT2, layers)
    for name, weight in load_file(source / "model.safetensors").items():
        if (gguf_name := names.get_name(name, try_suffixes=(".weight", ".bias"))) is None:
            raise ValueError(f"{name} is no tensor that llama.cpp knows")
        writer.add_tensor(gguf_name, np.ascontiguousarray(to_gguf_layout(name, weight, config)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def describe_llama(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_rope_freq_base(config["rope_theta"])


def describe_gpt2(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_feed_forward_length(4 * config["n_embd"])
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])


def to_gguf_layout(name: str, weight: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    """A weight as llama.cpp multiplies by it."""
    if name.endswith(CONV1D):
        return weight.T
    for ending, heads in ROTATED.items():
        if name.endswith(ending):  # it turns neighbours, where transformers turns the two halves of a head
            halves = weight.reshape(config[heads], 2, -1, weight.shape[1])
            return halves.swapaxes(1, 2).reshape(weight.shape)
    return weight


def bytes_per_token(path: Path) -> int:
    """The bytes of all tensors read whole; the embedding is one of them where no head stands beside it."""
    sizes = {tensor.name: int(tensor.n_bytes) for tensor in gguf.GGUFReader(path).tensors}
    rows = TABLES if "output.weight" in sizes else TABLES - {"token_embd.weight"}
    return sum(size for name, size in sizes.items() if name not in rows)
