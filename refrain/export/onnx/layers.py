"""A transformer block in ONNX Runtime's operators: norms, attention, the feed-forward net, and matrices in few bits."""

import numpy as np
from onnx import TensorProto, helper

from refrain.export.architectures.decoder import Decoder, Layer, Linear, Norm
from refrain.export.architectures.model_files import Array
from refrain.export.onnx import quantization
from refrain.export.onnx.builder import MICROSOFT, GraphBuilder

GELUS = {"gelu": ("Gelu", MICROSOFT), "gelu_tanh": ("FastGelu", MICROSOFT), "relu": ("Relu", "")}


def transformer_block(
    to: GraphBuilder, decoder: Decoder, layer: Layer, i: int, stream: str, branch: str | None
) -> tuple[str, str]:
    """A transformer block: attention and a feed-forward net, each reading the normed stream and adding to it."""
    at = f"layers.{i}."
    read, stream = norm(to, f"{at}before_attention", layer.before_attention, decoder, stream, branch)
    branch = attention(to, decoder, layer, i, read)
    if layer.after_attention is not None:
        branch, _ = norm(to, f"{at}after_attention", layer.after_attention, decoder, branch, None)
    read, stream = norm(to, f"{at}before_mlp", layer.before_mlp, decoder, stream, branch)
    branch = feed_forward(to, decoder, layer, at, read)
    if layer.after_mlp is not None:
        branch, _ = norm(to, f"{at}after_mlp", layer.after_mlp, decoder, branch, None)
    return stream, branch


def norm(to: GraphBuilder, name: str, norm: Norm, decoder: Decoder, stream: str, branch: str | None) -> tuple[str, str]:
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


def attention(to: GraphBuilder, decoder: Decoder, layer: Layer, i: int, read: str) -> str:
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
        qkv[0] = head_norm(to, qkv[0], layer.q_norm, decoder, heads)
        qkv[1] = head_norm(to, qkv[1], layer.k_norm, decoder, kv_heads)
    turns = [] if layer.frequencies is None else rotary_tables(to, layer.frequencies, decoder.context)
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


def head_norm(to: GraphBuilder, packed: str, weights: Norm, decoder: Decoder, heads: int) -> str:
    """Each head's numbers normed by themselves."""
    apart = to.constant(f"heads_{heads}", np.array([0, 0, heads, decoder.head_dim]))
    together = to.constant(f"width_{heads}", np.array([0, 0, heads * decoder.head_dim]))
    split = to.node("Reshape", [packed, apart], f"{packed}.heads")
    name, _ = norm(to, f"{packed}.norm", weights, decoder, split, None)
    return to.node("Reshape", [name, together], f"{packed}.normed")


def rotary_tables(to: GraphBuilder, frequencies: Array, context: int) -> list[str]:
    """Tables of cosines and sines, [context, head_dim / 2], one pair for all layers that turn alike."""
    angles = np.arange(context, dtype=np.float32)[:, None] * frequencies[None]
    name = f"turn_{float(frequencies[-1]):.6g}"
    return [to.constant(f"{name}.cos", np.cos(angles)), to.constant(f"{name}.sin", np.sin(angles))]


def feed_forward(to: GraphBuilder, decoder: Decoder, layer: Layer, at: str, read: str) -> str:
    """down(act(up(x))), or where it is gated down(act(gate(x)) * up(x)) (arXiv:2002.05202)."""
    wide = linear(to, f"{at}up", layer.up, read)
    if not decoder.gated:
        return linear(to, f"{at}down", layer.down, activation(to, decoder.activation, wide))
    half = to.constant("gate_widths", np.full(2, len(layer.up.weight) // 2))
    gate, let = to.nodes("Split", [wide, half], [f"{at}gate", f"{at}let"], "", axis=-1)
    passed = to.node("Mul", [activation(to, decoder.activation, gate), let], f"{at}passed")
    return linear(to, f"{at}down", layer.down, passed)


def activation(to: GraphBuilder, kind: str, values: str) -> str:
    if kind == "silu":  # x * sigmoid(alpha x), one operator where Sigmoid and Mul are two
        return to.node("QuickGelu", [values], f"{values}.active", MICROSOFT, alpha=1.0)
    operator, domain = GELUS[kind]
    return to.node(operator, [values], f"{values}.active", domain)


def linear(
    to: GraphBuilder, name: str, layer: Linear, read: str, bits: int | None = None, output: str | None = None
) -> str:
    """A matrix product in the bits of the variant, with the bias inside where the operator takes one."""
    bits, output = bits or to.precision.bits, output or name
    if bits not in (4, 8) or to.precision.block is None:
        product = output if layer.bias is None else f"{name}.product"
        to.node("MatMul", [read, full_precision(to, f"{name}.weight", layer.weight.T)], product)
        return (
            product
            if layer.bias is None
            else to.node("Add", [product, to.constant(f"{name}.bias", layer.bias)], output)
        )
    parts = quantization.quantize(layer.weight, bits, to.precision.block, to.precision.symmetric, to.precision.rounding)
    inputs = [read, to.constant(f"{name}.codes", parts.codes), to.constant(f"{name}.scales", parts.scales)]
    inputs.append("" if parts.zeros is None else to.constant(f"{name}.zeros", parts.zeros))
    inputs += ["", "" if layer.bias is None else to.constant(f"{name}.bias", layer.bias)]
    return matmul_nbits(to, inputs, output, layer.weight.shape, bits, to.precision.block)


def matmul_nbits(to: GraphBuilder, inputs: list[str], output: str, shape: tuple[int, ...], bits: int, size: int) -> str:
    """Weights in few bits times activations, which stay as they are: no row sees another."""
    while not inputs[-1]:
        inputs.pop()
    rows, columns = shape
    kind = {"N": rows, "K": columns, "bits": bits, "block_size": size, "accuracy_level": to.precision.accuracy}
    return to.node("MatMulNBits", inputs, output, MICROSOFT, **kind)


def full_precision(to: GraphBuilder, name: str, value: Array) -> str:
    """A matrix in fp32; in fp16 on disk, where the variant says so: widened once, when the session opens."""
    if to.precision.bits != 16:
        return to.constant(name, value)
    return to.node("Cast", [to.constant(f"{name}.half", value.astype(np.float16))], name, to=TensorProto.FLOAT)
