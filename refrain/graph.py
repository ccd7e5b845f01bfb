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

from refrain import blocks, families
from refrain.config import BLOCKS, Precision
from refrain.decoder import Decoder, Layer, Linear, Norm
from refrain.drawing import DATA, MICROSOFT, Drawing
from refrain.weights import Array

GELUS = {"gelu": ("Gelu", MICROSOFT), "gelu_tanh": ("FastGelu", MICROSOFT), "relu": ("Relu", "")}


def write(merged: Path, out: Path, precision: Precision) -> None:
    """model.onnx and model.onnx.data of the model in `merged`; ValueError for one that cannot be drawn whole."""
    decoder, weights = families.read(merged)
    with (out / DATA).open("wb") as data:
        drawing = Drawing(data, precision)
        draw(drawing, decoder)
    if unread := weights.unread():
        raise ValueError(f"model.safetensors: nothing in the compact graph reads {', '.join(unread[:3])}")
    (out / "model.onnx").write_bytes(drawing.model().SerializeToString(deterministic=True))


def draw(to: Drawing, decoder: Decoder) -> None:
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
    table = stored(to, decoder.table)
    stream = embedded(to, decoder, table)
    branch: str | None = None  # what the next norm adds to the stream
    for i in range(decoder.layers):
        stream, branch = block(to, decoder, decoder.layer(i), i, stream, branch)
    last, _ = normed(to, "norm", decoder.norm, decoder, stream, branch)
    kept = to.node("Gather", [last, "logits_at"], "kept", axis=1)
    head(to, decoder, kept, table)


def lengths(to: Drawing) -> None:
    """What GroupQueryAttention wants to know of the mask: the last position of each row, and the longest length."""
    seen = to.node("ReduceSum", ["attention_mask", to.constant("axis_1", np.array([1]))], "seen", keepdims=0)
    last = to.node("Sub", [seen, to.constant("one", np.array([1]))], "last_position")
    to.node("Cast", [last], "seqlens_k", to=TensorProto.INT32)
    total = to.node("Shape", ["attention_mask"], "total_shape", start=1, end=2)
    scalar = to.node("Squeeze", [total], "total")
    to.node("Cast", [scalar], "total_length", to=TensorProto.INT32)


def stored(to: Drawing, table: Array) -> list[str]:
    """The table of tokens as one constant, or as codes, scales and zero points: read by both ends of the graph."""
    size, bits = block_size(table, to.precision), to.precision.head_bits or to.precision.bits
    if size is None:
        return [full(to, "table", table)]
    parts = blocks.quantised(table, bits, size, to.precision.symmetric, to.precision.rounding)
    zeros = [] if parts.zeros is None else [to.constant("table.zeros", parts.zeros)]
    return [to.constant("table.codes", parts.codes), to.constant("table.scales", parts.scales), *zeros]


def block_size(table: Array, precision: Precision) -> int | None:
    """Of the block sizes up to that of the variant the largest that divides the width; None: the table stays whole."""
    few = (precision.head_bits or precision.bits) in (4, 8)
    fitting = (size for size in reversed(BLOCKS) if size <= (precision.block or 0) and table.shape[1] % size == 0)
    return next(fitting, None) if few else None


def embedded(to: Drawing, decoder: Decoder, table: list[str]) -> str:
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
        at = to.node("Gather", [full(to, "positions", decoder.positions), positions(to)], "positions.read")
        stream = to.node("Add", [stream, at], "tokens.positioned")
    return stream


def positions(to: Drawing) -> str:
    """The position of each id: those given are the last of their row."""
    count = to.node("Shape", ["input_ids"], "count", start=1, end=2)
    scalar = to.node("Squeeze", [count], "count.scalar")
    zero, one = to.constant("zero", np.array(0)), to.constant("step", np.array(1))
    steps = to.node("Range", [zero, scalar, one], "steps")
    begin = to.node("Sub", ["seen", count], "first_position")
    column = to.node("Unsqueeze", [begin, to.constant("axis_1", np.array([1]))], "first_position.column")
    return to.node("Add", [column, steps], "position_ids")


def block(to: Drawing, decoder: Decoder, layer: Layer, i: int, stream: str, branch: str | None) -> tuple[str, str]:
    """A transformer block: attention and a feed-forward net, each reading the normed stream and adding to it."""
    at = f"layers.{i}."
    read, stream = normed(to, f"{at}before_attention", layer.before_attention, decoder, stream, branch)
    branch = attention(to, decoder, layer, i, read)
    if layer.after_attention is not None:
        branch, _ = normed(to, f"{at}after_attention", layer.after_attention, decoder, branch, None)
    read, stream = normed(to, f"{at}before_mlp", layer.before_mlp, decoder, stream, branch)
    branch = feed_forward(to, decoder, layer, at, read)
    if layer.after_mlp is not None:
        branch, _ = normed(to, f"{at}after_mlp", layer.after_mlp, decoder, branch, None)
    return stream, branch


def normed(to: Drawing, name: str, norm: Norm, decoder: Decoder, stream: str, branch: str | None) -> tuple[str, str]:
    """The stream plus its branch, normed, and as it is."""
    weights = [to.constant(f"{name}.weight", norm.weight)]
    if norm.bias is not None:
        weights.append(to.constant(f"{name}.bias", norm.bias))
    kind = "LayerNormalization" if norm.bias is not None else "SimplifiedLayerNormalization"
    if branch is None:
        return to.node(kind, [stream, *weights], name, epsilon=decoder.epsilon, axis=-1), stream
    outputs = [name, "", "", f"{name}.stream"]
    to.nodes(f"Skip{kind}", [stream, branch, *weights], outputs, MICROSOFT, epsilon=decoder.epsilon)
    return name, f"{name}.stream"


def attention(to: Drawing, decoder: Decoder, layer: Layer, i: int, read: str) -> str:
    """Grouped-query attention (arXiv:2305.13245) over the cache, rotary positions inside."""
    at, heads, kv_heads, width = f"layers.{i}.", decoder.heads, decoder.kv_heads, decoder.head_dim
    shape: list[str | int | None] = ["rows", kv_heads, "room", width]
    past = [f"past_key_values.{i}.{name}" for name in ("key", "value")]
    present = [f"present.{i}.{name}" for name in ("key", "value")]
    to.inputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in past]
    to.outputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in present]
    qkv = [linear(to, f"{at}qkv", layer.qkv, read), "", ""]
    if layer.q_norm is not None and layer.k_norm is not None:  # the CPU's operator norms no heads, so they come apart
        qkv = to.nodes("Split", [qkv[0], to.constant("qkv_widths", np.array([heads, kv_heads, kv_heads]) * width)],
                       [f"{at}q", f"{at}k", f"{at}v"], "", axis=-1)  # fmt: skip
        qkv[0] = head_normed(to, qkv[0], layer.q_norm, decoder, heads)
        qkv[1] = head_normed(to, qkv[1], layer.k_norm, decoder, kv_heads)
    turns = [] if layer.frequencies is None else rotations(to, layer.frequencies, decoder.context)
    mixed = to.nodes(
        "GroupQueryAttention",
        [*qkv, *past, "seqlens_k", "total_length", *turns],
        [f"{at}attention", *present],
        MICROSOFT,
        num_heads=heads,
        kv_num_heads=kv_heads,
        scale=decoder.scale,
        do_rotary=int(layer.frequencies is not None),
        local_window_size=-1 if layer.window is None else layer.window,
    )
    return linear(to, f"{at}out", layer.out, mixed[0])


def head_normed(to: Drawing, packed: str, norm: Norm, decoder: Decoder, heads: int) -> str:
    """Each head's numbers normed by themselves."""
    apart = to.constant(f"heads_{heads}", np.array([0, 0, heads, decoder.head_dim]))
    together = to.constant(f"width_{heads}", np.array([0, 0, heads * decoder.head_dim]))
    split = to.node("Reshape", [packed, apart], f"{packed}.heads")
    name, _ = normed(to, f"{packed}.norm", norm, decoder, split, None)
    return to.node("Reshape", [name, together], f"{packed}.normed")


def rotations(to: Drawing, frequencies: Array, context: int) -> list[str]:
    """Tables of cosines and sines, [context, head_dim / 2], one pair for all layers that turn alike."""
    angles = np.arange(context, dtype=np.float32)[:, None] * frequencies[None]
    name = f"turn_{float(frequencies[-1]):.6g}"
    return [to.constant(f"{name}.cos", np.cos(angles)), to.constant(f"{name}.sin", np.sin(angles))]


def feed_forward(to: Drawing, decoder: Decoder, layer: Layer, at: str, read: str) -> str:
    """down(act(up(x))), or where it is gated down(act(gate(x)) * up(x)) (arXiv:2002.05202)."""
    wide = linear(to, f"{at}up", layer.up, read)
    if not decoder.gated:
        return linear(to, f"{at}down", layer.down, activated(to, decoder.activation, wide))
    half = to.constant("gate_widths", np.full(2, len(layer.up.weight) // 2))
    gate, let = to.nodes("Split", [wide, half], [f"{at}gate", f"{at}let"], "", axis=-1)
    passed = to.node("Mul", [activated(to, decoder.activation, gate), let], f"{at}passed")
    return linear(to, f"{at}down", layer.down, passed)


def activated(to: Drawing, kind: str, values: str) -> str:
    if kind == "silu":  # x * sigmoid(alpha x), one operator where Sigmoid and Mul are two
        return to.node("QuickGelu", [values], f"{values}.active", MICROSOFT, alpha=1.0)
    operator, domain = GELUS[kind]
    return to.node(operator, [values], f"{values}.active", domain)


def linear(to: Drawing, name: str, layer: Linear, read: str, bits: int | None = None, output: str | None = None) -> str:
    """A matrix product in the bits of the variant, with the bias inside where the operator takes one."""
    bits, output = bits or to.precision.bits, output or name
    if bits not in (4, 8) or to.precision.block is None:
        product = output if layer.bias is None else f"{name}.product"
        to.node("MatMul", [read, full(to, f"{name}.weight", layer.weight.T)], product)
        return (
            product
            if layer.bias is None
            else to.node("Add", [product, to.constant(f"{name}.bias", layer.bias)], output)
        )
    parts = blocks.quantised(layer.weight, bits, to.precision.block, to.precision.symmetric, to.precision.rounding)
    inputs = [read, to.constant(f"{name}.codes", parts.codes), to.constant(f"{name}.scales", parts.scales)]
    inputs.append("" if parts.zeros is None else to.constant(f"{name}.zeros", parts.zeros))
    inputs += ["", "" if layer.bias is None else to.constant(f"{name}.bias", layer.bias)]
    return few_bits(to, inputs, output, layer.weight.shape, bits, to.precision.block)


def few_bits(to: Drawing, inputs: list[str], output: str, shape: tuple[int, ...], bits: int, size: int) -> str:
    """Weights in few bits times activations, which stay as they are: no row sees another."""
    while not inputs[-1]:
        inputs.pop()
    rows, columns = shape
    kind = {"N": rows, "K": columns, "bits": bits, "block_size": size, "accuracy_level": to.precision.accuracy}
    return to.node("MatMulNBits", inputs, output, MICROSOFT, **kind)


def full(to: Drawing, name: str, value: Array) -> str:
    """A matrix in fp32; in fp16 on disk, where the variant says so: widened once, when the session opens."""
    if to.precision.bits != 16:
        return to.constant(name, value)
    return to.node("Cast", [to.constant(f"{name}.half", value.astype(np.float16))], name, to=TensorProto.FLOAT)


def head(to: Drawing, decoder: Decoder, kept: str, table: list[str]) -> None:
    """Logits, from the table where the decoder has no other head: one copy serves both ends."""
    bits = to.precision.head_bits or to.precision.bits
    if decoder.head is not None:
        linear(to, "head", decoder.head, kept, bits, "logits")
    elif len(table) == 1:
        to.node("FusedMatMul", [kept, *table], "logits", MICROSOFT, transB=1)
    else:
        size = block_size(decoder.table, to.precision)
        few_bits(to, [kept, *table], "logits", decoder.table.shape, bits, size or 0)
