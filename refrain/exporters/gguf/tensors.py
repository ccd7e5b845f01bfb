"""The tensors of a decoder by the names, and in the order of rows, that llama.cpp knows them by."""

from collections.abc import Iterator

import numpy as np

from refrain.exporters.architectures.decoder import Array, Decoder, Layer, Linear, Norm
from refrain.exporters.architectures.llama_cpp import STRETCHES, Graph, scaling_type
from refrain.exporters.architectures.rotary import scale_rotary

Tensors = Iterator[tuple[str, Array]]

NORMS = {  # of a layer
    "attn_norm": "before_attention",
    "attn_q_norm": "q_norm",
    "attn_k_norm": "k_norm",
    "post_attention_norm": "after_attention",
    "ffn_norm": "before_mlp",
    "post_ffw_norm": "after_mlp",
}


def list_tensors(decoder: Decoder, graph: Graph) -> Tensors:
    """Every tensor by its name, a layer at a time; a head that is the embedding is left out."""
    yield "token_embd.weight", decoder.embedding
    if decoder.position_embedding is not None:
        yield "position_embd.weight", decoder.position_embedding
    yield from name_norm(graph, "output_norm", decoder.final_norm)
    if decoder.lm_head is not None:
        yield from name_linear("output", decoder.lm_head)
    for i in range(decoder.layers):
        layer = decoder.read_layer(i)
        if i == 0 and graph.has_rope_factors:
            yield from list_rope_factors(decoder, layer)
        yield from list_layer(decoder, graph, layer, f"blk.{i}.")


def list_layer(decoder: Decoder, graph: Graph, layer: Layer, prefix: str) -> Tensors:
    """Those of one layer."""
    for name, field in NORMS.items():
        yield from name_norm(graph, f"{prefix}{name}", getattr(layer, field))
    yield from list_attention(decoder, graph, layer, prefix)
    if decoder.gated and not graph.has_fused_gate:
        gate, up = split_rows(layer.up, [len(layer.up.weight) // 2] * 2)
        yield from name_linear(f"{prefix}ffn_gate", gate)
        yield from name_linear(f"{prefix}ffn_up", up)
    else:
        yield from name_linear(f"{prefix}ffn_up", layer.up)
    yield from name_linear(f"{prefix}ffn_down", layer.down)


def list_attention(decoder: Decoder, graph: Graph, layer: Layer, prefix: str) -> Tensors:
    """The matrices of a layer's attention."""
    if graph.has_fused_qkv:
        yield from name_linear(f"{prefix}attn_qkv", layer.qkv)
    else:
        sizes = [heads * decoder.head_dim for heads in (decoder.heads, decoder.kv_heads, decoder.kv_heads)]
        queries, keys, values = split_rows(layer.qkv, sizes)
        if graph.turns_neighbours and not (layer.rotary and layer.rotary.is_interleaved):
            queries, keys = pair_neighbours(queries, decoder.heads), pair_neighbours(keys, decoder.kv_heads)
        for name, linear in (("q", queries), ("k", keys), ("v", values)):
            yield from name_linear(f"{prefix}attn_{name}", linear)
    yield from name_linear(f"{prefix}attn_output", layer.out)


def list_rope_factors(decoder: Decoder, layer: Layer) -> Tensors:
    """How many times slower than usual each pair turns, where rope_scaling says so and no key can."""
    rotary = layer.rotary
    if rotary is not None and rotary.base is not None and scaling_type(rotary) not in (None, *STRETCHES):
        usual = scale_rotary(rotary.base, 2 * len(rotary.frequencies)).frequencies
        yield "rope_freqs.weight", usual / rotary.frequencies


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


def name_norm(graph: Graph, name: str, norm: Norm | None) -> Tensors:
    if norm is not None:
        yield f"{name}.weight", norm.weight
        if norm.bias is not None and graph.has_norm_bias:
            yield f"{name}.bias", norm.bias
