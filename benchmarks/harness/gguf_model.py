"""A model folder as a GGUF file for llama.cpp: its decoder, its tokenizer and its template, in fp32, F16, Q8_0 or Q4_0.

python -m benchmarks.harness.gguf_model FOLDER MODEL.gguf PRECISION
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType, LlamaFileType

from benchmarks.harness import gguf_tokenizer
from refrain.exporters.architectures import families
from refrain.exporters.architectures.decoder import Array, Decoder, Layer, Linear, Norm
from refrain.exporters.architectures.rotary import scale_rotary
from refrain.pipeline import manifest

ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}  # by model_type
TURNS_NEIGHBOURS = {"llama"}  # where a pair of a head's numbers stands side by side, not half a head apart
PRECISIONS = {
    "f32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
    "q4_0": (GGMLQuantizationType.Q4_0, LlamaFileType.MOSTLY_Q4_0),
}
TABLES = {"q4_0": GGMLQuantizationType.Q8_0}  # embedding and head suffer most from few bits
BLOCK = 32  # weights that share a scale

Tensors = Iterator[tuple[str, Array]]


def write(folder: Path, path: Path, precision: str) -> None:
    """Everything that llama.cpp needs; ValueError, before a file is there, for what has no place in one."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if (architecture := ARCHITECTURES.get(config["model_type"])) is None:
        raise ValueError(f"{folder}: model_type={config['model_type']} is not written as GGUF; "
                         f"those that are: {', '.join(ARCHITECTURES)}")  # fmt: skip
    decoder, tensors = families.read_decoder(folder)
    if architecture == "qwen2" and decoder.heads * decoder.head_dim != decoder.embedding.shape[1]:
        raise ValueError(f"config.json: head_dim={decoder.head_dim} is not written as GGUF, whose qwen2 has as many "
                         "numbers in all heads as in a token's vector")  # fmt: skip
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type("model")
    writer.add_name(path.stem)
    writer.add_string("refrain.seal", manifest.content_hash(folder))
    describe_decoder(writer, decoder, config)
    gguf_tokenizer.describe_tokenizer(writer, folder, len(decoder.embedding))
    writer.add_file_type(PRECISIONS[precision][1])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for name, tensor in list_tensors(decoder, config, architecture in TURNS_NEIGHBOURS):
        kind = choose_type(name, tensor, precision)
        writer.add_tensor(name, gguf.quantize(np.ascontiguousarray(tensor), kind), raw_dtype=kind)
    tensors.require_all_read()
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def describe_decoder(writer: gguf.GGUFWriter, decoder: Decoder, config: dict) -> None:
    """The numbers that llama.cpp builds the graph from."""
    layer = decoder.read_layer(0)
    if not (decoder.gated and decoder.activation == "silu"):
        raise ValueError(f"config.json: an activation of {decoder.activation} is not written as GGUF")
    writer.add_block_count(decoder.layers)
    writer.add_context_length(decoder.context)
    writer.add_embedding_length(decoder.embedding.shape[1])
    writer.add_feed_forward_length(layer.down.weight.shape[1])
    writer.add_head_count(decoder.heads)
    writer.add_head_count_kv(decoder.kv_heads)
    writer.add_key_length(decoder.head_dim)
    writer.add_value_length(decoder.head_dim)
    writer.add_layer_norm_rms_eps(decoder.epsilon)
    writer.add_rope_dimension_count(decoder.head_dim)
    writer.add_rope_freq_base(rope_base(config))
    writer.add_vocab_size(len(decoder.embedding))


def rope_base(config: dict) -> float:
    return float((config.get("rope_parameters") or {}).get("rope_theta") or config.get("rope_theta") or 10000.0)


def list_tensors(decoder: Decoder, config: dict, turns_neighbours: bool) -> Tensors:
    """Every tensor by the name that llama.cpp knows it by; a head that is the embedding is left out."""
    yield "token_embd.weight", decoder.embedding
    yield from name_norm("output_norm", decoder.final_norm)
    if decoder.lm_head is not None:
        yield from name_linear("output", decoder.lm_head)
    for i in range(decoder.layers):
        layer = decoder.read_layer(i)
        if i == 0:
            yield from list_rope_factors(decoder, layer, config, turns_neighbours)
        yield from list_attention(decoder, layer, f"blk.{i}.", turns_neighbours)
        gate, up = split_rows(layer.up, [len(layer.up.weight) // 2] * 2)
        yield from name_norm(f"blk.{i}.ffn_norm", layer.before_mlp)
        yield from name_linear(f"blk.{i}.ffn_gate", gate)
        yield from name_linear(f"blk.{i}.ffn_up", up)
        yield from name_linear(f"blk.{i}.ffn_down", layer.down)


def list_attention(decoder: Decoder, layer: Layer, prefix: str, turns_neighbours: bool) -> Tensors:
    """Those of a layer's attention; ValueError for a window, which only other architectures have."""
    if layer.window is not None and layer.window < decoder.context:
        raise ValueError(f"config.json: a sliding window of {layer.window} tokens is not written as GGUF")
    sizes = [heads * decoder.head_dim for heads in (decoder.heads, decoder.kv_heads, decoder.kv_heads)]
    queries, keys, values = split_rows(layer.qkv, sizes)
    if turns_neighbours:
        queries, keys = pair_neighbours(queries, decoder.heads), pair_neighbours(keys, decoder.kv_heads)
    yield from name_norm(f"{prefix}attn_norm", layer.before_attention)
    for name, linear in (("q", queries), ("k", keys), ("v", values), ("output", layer.out)):
        yield from name_linear(f"{prefix}attn_{name}", linear)
    for name, norm in (("q", layer.q_norm), ("k", layer.k_norm)):
        yield from name_norm(f"{prefix}attn_{name}_norm", norm)


def list_rope_factors(decoder: Decoder, layer: Layer, config: dict, turns_neighbours: bool) -> Tensors:
    """How many times slower than usual each pair turns, where rope_scaling says so."""
    usual = scale_rotary(rope_base(config), decoder.head_dim).frequencies
    if layer.rotary is None or layer.rotary.factor != 1:
        raise ValueError("config.json: rope_scaling of type yarn is not written as GGUF")
    if not np.array_equal(usual, layer.rotary.frequencies):
        if not turns_neighbours:
            raise ValueError("config.json: rope_scaling is written as GGUF for llama and mistral alone")
        yield "rope_freqs.weight", usual / layer.rotary.frequencies


def pair_neighbours(linear: Linear, heads: int) -> Linear:
    """Rows in the order in which llama.cpp turns them: the two of a pair side by side."""

    def reorder(array: Array) -> Array:
        return array.reshape(heads, 2, -1, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)

    return Linear(reorder(linear.weight), None if linear.bias is None else reorder(linear.bias))


def split_rows(linear: Linear, sizes: list[int]) -> list[Linear]:
    """Layers that were stacked, one by one."""
    at = np.cumsum(sizes)[:-1]
    biases = [None] * len(sizes) if linear.bias is None else np.split(linear.bias, at)
    return [Linear(*pair) for pair in zip(np.split(linear.weight, at), biases, strict=True)]


def name_linear(name: str, linear: Linear) -> Tensors:
    yield f"{name}.weight", linear.weight
    if linear.bias is not None:
        yield f"{name}.bias", linear.bias


def name_norm(name: str, norm: Norm | None) -> Tensors:
    if norm is not None:
        yield f"{name}.weight", norm.weight


def choose_type(name: str, tensor: Array, precision: str) -> GGMLQuantizationType:
    """Vectors stay in fp32; rows that no whole blocks fill become F16 where they were to be quantised."""
    kind = PRECISIONS[precision][0]
    if tensor.ndim == 1:
        return GGMLQuantizationType.F32
    if kind in (GGMLQuantizationType.F32, GGMLQuantizationType.F16):
        return kind
    if tensor.shape[1] % BLOCK:
        return GGMLQuantizationType.F16
    return TABLES.get(precision, kind) if name in ("token_embd.weight", "output.weight") else kind


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("path", type=Path)
    parser.add_argument("precision", choices=list(PRECISIONS))
    options = parser.parse_args()
    write(options.folder, options.path, options.precision)


if __name__ == "__main__":
    main()
