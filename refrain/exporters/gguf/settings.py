"""The numbers of a decoder as the keys that llama.cpp builds its graph from."""

import gguf

from refrain.exporters.architectures import llama_cpp
from refrain.exporters.architectures.decoder import Decoder, Layer, Rotary
from refrain.exporters.architectures.llama_cpp import Graph


def describe_decoder(writer: gguf.GGUFWriter, decoder: Decoder, graph: Graph) -> None:
    """Every key but those of the tokenizer and of who made it."""
    layer = decoder.read_layer(0)
    writer.add_block_count(decoder.layers)
    writer.add_context_length(llama_cpp.context_length(decoder, graph))
    writer.add_embedding_length(decoder.embedding.shape[1])
    writer.add_feed_forward_length(layer.down.weight.shape[1])
    writer.add_head_count(decoder.heads)
    writer.add_head_count_kv(decoder.kv_heads)
    writer.add_key_length(decoder.head_dim)
    writer.add_value_length(decoder.head_dim)
    writer.add_vocab_size(len(decoder.embedding))
    if decoder.final_norm.bias is None:
        writer.add_layer_norm_rms_eps(decoder.epsilon)
    else:
        writer.add_layer_norm_eps(decoder.epsilon)
    describe_family(writer, decoder, graph)
    describe_positions(writer, decoder)


def describe_family(writer: gguf.GGUFWriter, decoder: Decoder, graph: Graph) -> None:
    """Keys that only some architectures read; what our matrices hold already is multiplied by one."""
    if graph.name in ("gptneox", "stablelm"):
        writer.add_parallel_residual(decoder.is_parallel)
    if graph.name in ("granite", "command-r"):
        writer.add_logit_scale(1.0)
    if graph.has_multipliers:
        writer.add_embedding_scale(decoder.embedding_scale)
        writer.add_residual_scale(1.0)
        writer.add_attention_scale(decoder.scale)
    if graph.has_softcaps:
        writer.add_attn_logit_softcapping(decoder.attention_softcap)
        writer.add_final_logit_softcapping(decoder.logit_softcap)


def describe_positions(writer: gguf.GGUFWriter, decoder: Decoder) -> None:
    """How fast each pair turns, in layers that see all tokens and in those with a window."""
    layers = list(map(decoder.read_layer, range(decoder.layers)))
    full = next((layer.rotary for layer in layers if layer.rotary and layer.window is None), None)
    narrow = next((layer for layer in layers if layer.window is not None), None)
    if narrow is not None and narrow.window is not None:
        writer.add_sliding_window(narrow.window)
        describe_local_base(writer, narrow, full)
    rotary = full or next((layer.rotary for layer in layers if layer.rotary), None)
    if rotary is not None and rotary.base is not None:
        writer.add_rope_dimension_count(2 * len(rotary.frequencies))
        writer.add_rope_freq_base(rotary.base)
        describe_scaling(writer, rotary, decoder.context)


def describe_local_base(writer: gguf.GGUFWriter, narrow: Layer, full: Rotary | None) -> None:
    """The base of layers with a window, where it is another one."""
    if narrow.rotary is not None and narrow.rotary.base is not None and full is not None:
        writer.add_rope_freq_base_swa(narrow.rotary.base)


def describe_scaling(writer: gguf.GGUFWriter, rotary: Rotary, context: int) -> None:
    """rope_scaling where llama.cpp computes it; all else is a tensor of factors, or refused."""
    scaling = rotary.scaling or {}
    kind = llama_cpp.scaling_type(rotary)
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(scaling["factor"])
    elif kind == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(scaling["factor"])
        writer.add_rope_scaling_orig_ctx_len(scaling.get("original_max_position_embeddings") or context)
