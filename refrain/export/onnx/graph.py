"""The compact graph: a decoder drawn with ONNX Runtime's fused operators, straight from its weights, without tracing.

Inputs: input_ids [rows, tokens] int64; attention_mask [rows, total] int64, ones for the tokens that a row then has,
then zeros; logits_at [kept] int64, the columns that logits are wanted for, -1 is the last;
past_key_values.<layer>.{key,value} [rows, kv_heads, room, head_dim] float.
Outputs: logits [rows, kept, vocabulary] float; present.<layer>.{key,value}, of which each is the buffer that was bound
as past, written in place, when one buffer is bound as both.
"""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from refrain.export.architectures import families
from refrain.export.architectures.decoder import Decoder
from refrain.export.architectures.model_files import Array
from refrain.export.onnx import quantization
from refrain.export.onnx.builder import EXTERNAL_DATA, MICROSOFT, GraphBuilder
from refrain.export.onnx.layers import full_precision, linear, matmul_nbits, norm, transformer_block
from refrain.pipeline.schema import BLOCKS, QuantizationConfig


def write_graph(merged: Path, out: Path, precision: QuantizationConfig) -> None:
    """model.onnx and model.onnx.data of the model in `merged`; ValueError for one that cannot be drawn whole."""
    decoder, weights = families.read_decoder(merged)
    with (out / EXTERNAL_DATA).open("wb") as data:
        drawing = GraphBuilder(data, precision)
        build_graph(drawing, decoder)
    weights.require_all_read()
    (out / "model.onnx").write_bytes(drawing.model().SerializeToString(deterministic=True))


def build_graph(to: GraphBuilder, decoder: Decoder) -> None:
    """Every node from input_ids to logits."""
    vocabulary = len(decoder.table)
    tensor = helper.make_tensor_value_info
    to.inputs += [
        tensor("input_ids", TensorProto.INT64, ["rows", "tokens"]),
        tensor("attention_mask", TensorProto.INT64, ["rows", "total"]),
        tensor("logits_at", TensorProto.INT64, ["kept"]),
    ]
    to.outputs.append(tensor("logits", TensorProto.FLOAT, ["rows", "kept", vocabulary]))
    lengths(to)
    table = embedding_table(to, decoder.table)
    stream = embed(to, decoder, table)
    branch: str | None = None  # what the next norm adds to the stream
    for i in range(decoder.layers):
        stream, branch = transformer_block(to, decoder, decoder.layer(i), i, stream, branch)
    last, _ = norm(to, "norm", decoder.norm, decoder, stream, branch)
    kept = to.node("Gather", [last, "logits_at"], "kept", axis=1)
    head(to, decoder, kept, table)


def lengths(to: GraphBuilder) -> None:
    """What GroupQueryAttention wants to know of the mask: the last position of each row, and the longest length."""
    seen = to.node("ReduceSum", ["attention_mask", to.constant("axis_1", np.array([1]))], "seen", keepdims=0)
    last = to.node("Sub", [seen, to.constant("one", np.array([1]))], "last_position")
    to.node("Cast", [last], "seqlens_k", to=TensorProto.INT32)
    total = to.node("Shape", ["attention_mask"], "total_shape", start=1, end=2)
    scalar = to.node("Squeeze", [total], "total")
    to.node("Cast", [scalar], "total_length", to=TensorProto.INT32)


def embedding_table(to: GraphBuilder, table: Array) -> list[str]:
    """The table of tokens as one constant, or as codes, scales and zero points: read by both ends of the graph."""
    size, bits = block_size(table, to.precision), to.precision.head_bits or to.precision.bits
    if size is None:
        return [full_precision(to, "table", table)]
    parts = quantization.quantize(table, bits, size, to.precision.symmetric, to.precision.rounding)
    zeros = [] if parts.zeros is None else [to.constant("table.zeros", parts.zeros)]
    return [to.constant("table.codes", parts.codes), to.constant("table.scales", parts.scales), *zeros]


def block_size(table: Array, precision: QuantizationConfig) -> int | None:
    """Of the block sizes up to that of the variant the largest that divides the width; None: the table stays whole."""
    few = (precision.head_bits or precision.bits) in (4, 8)
    fitting = (size for size in reversed(BLOCKS) if size <= (precision.block or 0) and table.shape[1] % size == 0)
    return next(fitting, None) if few else None


def embed(to: GraphBuilder, decoder: Decoder, table: list[str]) -> str:
    """The stream that the layers add to: tokens and, where they are learned, positions."""
    if len(table) == 1:
        stream = to.node("Gather", [*table, "input_ids"], "tokens")
    else:
        codes, *others = table
        shape = to.constant("table.shape", np.array([len(decoder.table), -1]))
        flat = to.node("Reshape", [codes, shape], "table.flat")
        bits, size = to.precision.head_bits or to.precision.bits, block_size(decoder.table, to.precision)
        kind = {"bits": bits, "block_size": size, "gather_axis": 0, "quantize_axis": 1}
        stream = to.node("GatherBlockQuantized", [flat, "input_ids", *others], "tokens", MICROSOFT, **kind)
    if decoder.table_scale != 1:
        stream = to.node("Mul", [stream, to.constant("table_scale", np.float32(decoder.table_scale))], "tokens.scaled")
    if decoder.positions is not None:
        at = to.node("Gather", [full_precision(to, "positions", decoder.positions), positions(to)], "positions.read")
        stream = to.node("Add", [stream, at], "tokens.positioned")
    return stream


def positions(to: GraphBuilder) -> str:
    """The position of each id: those given are the last of their row."""
    count = to.node("Shape", ["input_ids"], "count", start=1, end=2)
    scalar = to.node("Squeeze", [count], "count.scalar")
    zero, one = to.constant("zero", np.array(0)), to.constant("step", np.array(1))
    steps = to.node("Range", [zero, scalar, one], "steps")
    begin = to.node("Sub", ["seen", count], "first_position")
    column = to.node("Unsqueeze", [begin, to.constant("axis_1", np.array([1]))], "first_position.column")
    return to.node("Add", [column, steps], "position_ids")


def head(to: GraphBuilder, decoder: Decoder, kept: str, table: list[str]) -> None:
    """Logits, from the table where the decoder has no other head: one copy serves both ends."""
    bits = to.precision.head_bits or to.precision.bits
    if decoder.head is not None:
        linear(to, "head", decoder.head, kept, bits, "logits")
    elif len(table) == 1:
        to.node("FusedMatMul", [kept, *table], "logits", MICROSOFT, transB=1)
    else:
        size = block_size(decoder.table, to.precision)
        matmul_nbits(to, [kept, *table], "logits", decoder.table.shape, bits, size or 0)
