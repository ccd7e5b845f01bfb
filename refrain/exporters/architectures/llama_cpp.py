"""Which decoders llama.cpp has a graph for, and what its graph takes for granted where config.json may differ.

Each entry was held to transformers by the log-probabilities of whole vocabularies. What a graph does not have is
refused by name, from config.json and the headers of tensors alone.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from refrain.exporters.architectures import families
from refrain.exporters.architectures.decoder import Decoder, Layer, Rotary

GELU = {"gelu_tanh"}  # a table of fp16 in ggml, so that it moves a logit by a thousandth
STRETCHES = {"linear", "yarn"}  # rope_scaling that has keys of its own in GGUF


@dataclass(frozen=True)
class Graph:
    """An architecture of llama.cpp."""

    name: str
    activations: frozenset[str] | set[str]
    turns_neighbours: bool = False  # the two numbers of a pair stand side by side, not half a head apart
    has_fused_qkv: bool = False
    has_fused_gate: bool = False  # ffn_up is the gate, then what it lets through
    full_layers: int | None = None  # layers between those without a window, themselves included; None: no windows
    has_rope_factors: bool = False  # a tensor says how each pair is stretched
    has_multipliers: bool = False  # keys say by what embedding and scores are multiplied
    scales_embedding: bool = False  # by the root of its width, always
    has_softcaps: bool = False
    has_head_bias: bool = False
    has_norm_bias: bool = True  # a layer normalisation adds one
    still_layers: int | None = None  # layers between those that know no positions, themselves included
    has_own_head_width: bool = True  # all heads may have more or fewer numbers than a token's vector


SILU = {"silu"}
LLAMA = Graph("llama", SILU, turns_neighbours=True, has_rope_factors=True)
GRAPHS = {  # by model_type of config.json
    "llama": LLAMA,
    "mistral": LLAMA,
    "ministral": LLAMA,
    "qwen2": Graph("qwen2", SILU, has_own_head_width=False),
    "qwen3": Graph("qwen3", SILU),
    "gemma": Graph("gemma", GELU, scales_embedding=True),
    "gemma2": Graph("gemma2", GELU, full_layers=2, scales_embedding=True, has_softcaps=True),
    "gemma3_text": Graph("gemma3", GELU, full_layers=6, scales_embedding=True),
    "phi": Graph("phi2", GELU, has_head_bias=True),
    "phi3": Graph("phi3", SILU, has_fused_qkv=True, has_fused_gate=True),
    "granite": Graph("granite", SILU, turns_neighbours=True, has_multipliers=True),
    "olmo2": Graph("olmo2", SILU),
    "stablelm": Graph("stablelm", SILU),
    "smollm3": Graph("smollm3", SILU, turns_neighbours=True, still_layers=4),
    "starcoder2": Graph("starcoder2", GELU),
    "cohere": Graph("command-r", SILU, turns_neighbours=True, has_norm_bias=False),
    "gpt2": Graph("gpt2", GELU, has_fused_qkv=True),
    "gpt_neox": Graph("gptneox", GELU | {"gelu"}, has_fused_qkv=True),
}


def find_graph(folder: Path) -> Graph:
    """llama.cpp's graph for the model in a folder; ValueError, naming the family, where there is none."""
    family = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    if (graph := GRAPHS.get(family)) is None:
        raise ValueError(
            f"config.json: model_type={family} is not written as GGUF; those that are: {', '.join(GRAPHS)}"
        )
    return graph


def require_supported(folder: Path) -> None:
    """ValueError naming the first thing in config.json that llama.cpp's graph of this family does not have."""
    graph = find_graph(folder)
    decoder, _ = families.read_decoder(folder, headers_only=True)
    for obstacle in find_obstacles(graph, decoder):
        raise ValueError(
            f"config.json: {obstacle}, which llama.cpp's {graph.name} does not have, so no GGUF can hold it"
        )


def find_obstacles(graph: Graph, decoder: Decoder) -> Iterator[str]:
    """What a decoder has that the graph has not, in words."""
    width = decoder.embedding.shape[1]
    if decoder.activation not in graph.activations:
        yield f"its activation is {decoder.activation}"
    if not graph.has_own_head_width and decoder.heads * decoder.head_dim != width:
        yield f"head_dim={decoder.head_dim} makes all heads wider or narrower than a token's vector"
    if not graph.has_multipliers:
        expected = width**0.5 if graph.scales_embedding else 1.0
        if decoder.embedding_scale != expected:
            yield f"its embedding is multiplied by {decoder.embedding_scale:g}"
        if abs(decoder.scale * decoder.head_dim**0.5 - 1) > 1e-6:
            yield f"its attention scores are multiplied by {decoder.scale:g}"
    if graph.has_softcaps != bool(decoder.attention_softcap) or (decoder.logit_softcap and not graph.has_softcaps):
        yield f"it has softcaps of {decoder.attention_softcap:g} and {decoder.logit_softcap:g}"
    if decoder.lm_head is not None and (decoder.lm_head.bias is not None) != graph.has_head_bias:
        yield f"its head has {'a' if decoder.lm_head.bias is not None else 'no'} bias"
    for i in range(decoder.layers):
        yield from layer_obstacles(graph, decoder, decoder.read_layer(i), i)


def layer_obstacles(graph: Graph, decoder: Decoder, layer: Layer, i: int) -> Iterator[str]:
    """What a layer has that the graph has not."""
    is_full = graph.full_layers is None or (i + 1) % graph.full_layers == 0
    if graph.full_layers is not None and is_full != (layer.window is None):
        yield f"layer {i} has {'no' if layer.window is None else 'a'} sliding window"
    if decoder.position_embedding is not None:
        return
    is_still = graph.still_layers is not None and (i + 1) % graph.still_layers == 0
    if is_still != (layer.rotary is None):
        yield f"layer {i} knows {'no' if layer.rotary is None else 'its'} positions"
    kind = scaling_type(layer.rotary)
    if kind is not None and kind not in STRETCHES and not graph.has_rope_factors:
        yield f"rope_scaling is of type {kind}"


def scaling_type(rotary: Rotary | None) -> str | None:
    """How config.json stretches positions, if it does."""
    scaling = {} if rotary is None else rotary.scaling or {}
    return scaling.get("rope_type", scaling.get("type"))


def context_length(decoder: Decoder, graph: Graph) -> int:
    """How many tokens a file may see: where the graph has no windows, those that the narrowest window lets see."""
    windows = [layer.window for layer in map(decoder.read_layer, range(decoder.layers)) if layer.window is not None]
    return decoder.context if graph.full_layers is not None else min([decoder.context, *windows])
