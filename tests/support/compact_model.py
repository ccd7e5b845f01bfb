"""Random models as compact graphs in any precision: they speak in bytes, and in a few ids without text."""

from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, GPT2Config, LlamaConfig

from refrain.exporters.onnx import graph, kv_scales
from refrain.exporters.onnx.builder import NO_CALIBRATION, Calibration
from refrain.pipeline.export_schema import QuantizationConfig

CONTEXT = 1200  # more than the room that rows begin with, and no multiple of it
VOCABULARY = 272  # more logits than the tokenizer has tokens
FAMILIES = {
    "llama": LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, max_position_embeddings=CONTEXT, initializer_range=0.15,
        tie_word_embeddings=True, bos_token_id=None, eos_token_id=None,
    ),
    "gpt2": GPT2Config(
        vocab_size=VOCABULARY, n_embd=64, n_layer=2, n_head=4, n_positions=CONTEXT, initializer_range=0.15,
        bos_token_id=None, eos_token_id=None,
    ),
    "wide": LlamaConfig(  # heads so wide that kernels cut their sums
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=1,
        num_key_value_heads=1, head_dim=256, max_position_embeddings=CONTEXT, initializer_range=0.15,
        tie_word_embeddings=True, bos_token_id=None, eos_token_id=None,
    ),
}  # fmt: skip
FAMILIES["talkative"] = LlamaConfig(**FAMILIES["llama"].to_dict() | {"max_position_embeddings": 20_000})
FAMILIES["gemma2"] = Gemma2Config(  # windows, and a cap of scores
    vocab_size=VOCABULARY, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, head_dim=80, max_position_embeddings=CONTEXT, initializer_range=0.15, sliding_window=50,
    attn_logit_softcapping=5.0, query_pre_attn_scalar=80, bos_token_id=None, eos_token_id=None,
)  # fmt: skip
SEQUENCES = np.random.default_rng(1).integers(0, VOCABULARY, (8, 200)).tolist()  # that scales of a cache are taken of
PRECISIONS = {
    "fp32": QuantizationConfig(32),
    "int8": QuantizationConfig(8, activations="token", head_bits=8),
    "int8-64": QuantizationConfig(8, 64, head_bits=8),
    "int8-kv8": QuantizationConfig(8, 64, head_bits=8, kv_bits=8),
    "kv8": QuantizationConfig(32, kv_bits=8),
    "int8-32": QuantizationConfig(8, 32),
    "int4": QuantizationConfig(4, 32, head_bits=8, rounding="search"),
    "int4-head4": QuantizationConfig(4, 32, head_bits=4, rounding="search"),
    "int4-64": QuantizationConfig(4, 64),  # of which the kernels round rows in company otherwise than alone
}


def weights(folder: Path, family: str, repeats: bool = False) -> Path:
    """What PyTorch saves of a model; one that repeats itself hardly sees beyond the last token, and is sure."""
    out = folder / f"{family}{' repeats' * repeats}"
    if out.is_dir():
        return out
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(FAMILIES[family])
    for parameter in model.parameters():  # biases and norms that are not all zeros or ones
        if parameter.dim() == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    if repeats:
        for name, parameter in model.named_parameters():
            if name.endswith(("self_attn.o_proj.weight", "attn.c_proj.weight", "attn.c_proj.bias", "wpe.weight")):
                parameter.data *= 0.02
            if name in ("model.norm.weight", "transformer.ln_f.weight"):
                parameter.data *= 40
    model.save_pretrained(out)
    return out


def build(folder: Path, family: str, precision: str, repeats: bool = False) -> Path:
    """A folder for runtime.load."""
    source = weights(folder, family, repeats)
    out = folder / f"{source.name} {precision}"
    if out.is_dir():
        return out
    out.mkdir()
    graph.write_graph(source, out, PRECISIONS[precision], calibrate(folder, family, repeats, precision))
    (out / "config.json").write_bytes((source / "config.json").read_bytes())
    return out


def calibrate(folder: Path, family: str, repeats: bool, precision: str) -> Calibration:
    """Scales for a cache in 8 bits, of ids drawn at random; nothing for one in fp32."""
    if PRECISIONS[precision].kv_bits == 32:
        return NO_CALIBRATION
    fp32 = build(folder, family, "fp32", repeats)
    return Calibration(kv_scales=kv_scales.measure_scales(fp32, SEQUENCES))
