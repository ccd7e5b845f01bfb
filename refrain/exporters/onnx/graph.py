"""The compact graph: a decoder drawn with ONNX Runtime's fused operators, straight from its weights, without tracing.

Inputs: input_ids [batch_size, sequence_length] int64; attention_mask [batch_size, total_sequence_length] int64, ones
for the tokens that a row then has, then zeros; past_key_values.<layer>.{key,value} [batch_size, kv_heads,
past_sequence_length, head_dim] float, or int8 where the scales are in the graph; and logits_at [kept] int64, the
columns that logits are wanted for, which may be left out: then it is the last.
Outputs: logits [batch_size, kept, vocabulary] float; present.<layer>.{key,value}, of which each is the buffer that was
bound as past, written in place, when one buffer is bound as both.

Inputs, outputs and axes are named as optimum names them, so that other runtimes know them.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from refrain.exporters.architectures import families, heads
from refrain.exporters.architectures.decoder import Decoder
from refrain.exporters.onnx.builder import NO_CALIBRATION, Calibration, GraphBuilder
from refrain.exporters.onnx.embedding import add_embedding, add_gather, add_tied_head, embedding_bits
from refrain.exporters.onnx.integer_products import prefer_blocks
from refrain.exporters.onnx.layers import add_full_precision, add_linear, add_norm, add_transformer_block
from refrain.exporters.onnx.smoothing import smooth_decoder
from refrain.pipeline import progress
from refrain.pipeline.export_schema import QuantizationConfig
from refrain.runtime import onnx_folder


def write_graph(
    merged: Path, out: Path, precision: QuantizationConfig, calibration: Calibration = NO_CALIBRATION
) -> None:
    """The graph and the weights of the model in `merged`; ValueError for one that cannot be drawn whole."""
    decoder, tensors = families.read_decoder(merged)
    with (out / onnx_folder.EXTERNAL_DATA).open("wb") as data:
        builder = GraphBuilder(data, precision, calibration)
        fitted = heads.fit_heads(decoder)
        build_graph(builder, smooth_decoder(fitted, calibration.activation_sizes, precision.kv_bits == 8))
    tensors.require_all_read()
    (out / onnx_folder.GRAPH).write_bytes(builder.model().SerializeToString(deterministic=True))


def build_graph(builder: GraphBuilder, decoder: Decoder) -> None:
    """Every node from input_ids to logits."""
    vocabulary = len(decoder.embedding)
    tensor = helper.make_tensor_value_info
    builder.inputs += [
        tensor("input_ids", TensorProto.INT64, ["batch_size", "sequence_length"]),
        tensor("attention_mask", TensorProto.INT64, ["batch_size", "total_sequence_length"]),
        tensor("logits_at", TensorProto.INT64, ["kept"]),
    ]
    builder.add_constant("logits_at", np.array([-1]))  # an input of the same name may be left out
    # One column, as with the default: onnxruntime-genai reads here that a prompt has logits after its last token only.
    builder.outputs.append(tensor("logits", TensorProto.FLOAT, ["batch_size", 1, vocabulary]))
    add_lengths(builder)
    embedding = add_embedding(builder, decoder.embedding)
    stream = add_token_embeddings(builder, decoder, embedding)
    branch: str | None = None  # what the next norm adds to the stream
    precision = builder.precision
    for i in progress.with_progress(range(decoder.layers), "layers", f"{precision.bits} bits"):
        is_sensitive = i in builder.calibration.sensitive
        builder.precision = replace(precision, bits=precision.sensitive_bits) if is_sensitive else precision
        stream, branch = add_transformer_block(builder, decoder, decoder.read_layer(i), i, stream, branch)
    builder.precision = precision
    hidden, _ = add_norm(builder, "norm", decoder.final_norm, decoder, stream, branch)
    selected = builder.add_node("Gather", [hidden, "logits_at"], "kept", axis=1)
    add_lm_head(builder, decoder, selected, embedding)


def add_lengths(builder: GraphBuilder) -> None:
    """What GroupQueryAttention wants to know of the mask: the last position of each row, and the longest length."""
    axis = builder.add_constant("axis_1", np.array([1]))
    lengths = builder.add_node("ReduceSum", ["attention_mask", axis], "seen", keepdims=0)
    last = builder.add_node("Sub", [lengths, builder.add_constant("one", np.array([1]))], "last_position")
    builder.add_node("Cast", [last], "seqlens_k", to=TensorProto.INT32)
    total = builder.add_node("Shape", ["attention_mask"], "total_shape", start=1, end=2)
    scalar = builder.add_node("Squeeze", [total], "total")
    builder.add_node("Cast", [scalar], "total_length", to=TensorProto.INT32)


def add_token_embeddings(builder: GraphBuilder, decoder: Decoder, embedding: list[str]) -> str:
    """The stream that the layers add to: tokens and, where they are learned, positions."""
    stream = add_gather(builder, decoder.embedding, embedding, "input_ids", "tokens")
    if decoder.embedding_scale != 1 or decoder.column_scales is not None:
        columns = np.float32(1) if decoder.column_scales is None else decoder.column_scales
        scale = builder.add_constant("table_scale", columns * np.float32(decoder.embedding_scale))
        stream = builder.add_node("Mul", [stream, scale], "tokens.scaled")
    if decoder.position_embedding is not None:
        table = add_full_precision(builder, "positions", decoder.position_embedding)
        positions = builder.add_node("Gather", [table, add_position_ids(builder)], "positions.read")
        stream = builder.add_node("Add", [stream, positions], "tokens.positioned")
    return stream


def add_position_ids(builder: GraphBuilder) -> str:
    """The position of each id: those given are the last of their row."""
    count = builder.add_node("Shape", ["input_ids"], "count", start=1, end=2)
    scalar = builder.add_node("Squeeze", [count], "count.scalar")
    start, step = builder.add_constant("zero", np.array(0)), builder.add_constant("step", np.array(1))
    steps = builder.add_node("Range", [start, scalar, step], "steps")
    begin = builder.add_node("Sub", ["seen", count], "first_position")
    axis = builder.add_constant("axis_1", np.array([1]))
    column = builder.add_node("Unsqueeze", [begin, axis], "first_position.column")
    return builder.add_node("Add", [column, steps], "position_ids")


def add_lm_head(builder: GraphBuilder, decoder: Decoder, hidden: str, embedding: list[str]) -> None:
    """Logits, from the embedding where the decoder has no other head: one copy serves both ends."""
    bits, output = embedding_bits(builder.precision), "logits.uncapped" if decoder.logit_softcap else "logits"
    if decoder.lm_head is not None:
        precision, builder.precision = builder.precision, prefer_blocks(builder.precision)
        add_linear(builder, "head", decoder.lm_head, hidden, bits, output)
        builder.precision = precision
    else:
        add_tied_head(builder, decoder.embedding, embedding, hidden, output)
    if decoder.logit_softcap:
        cap = builder.add_constant("logit_softcap", np.float32(decoder.logit_softcap))
        share = builder.add_node("Tanh", [builder.add_node("Div", [output, cap], "logits.share")], "logits.bent")
        builder.add_node("Mul", [share, cap], "logits")
