"""A transformer block in ONNX Runtime's operators: norms, attention, the feed-forward net, and matrices in few bits."""

from typing import Any

import numpy as np
from onnx import TensorProto, helper

from refrain.exporters.architectures.decoder import Array, Decoder, Layer, Linear, Norm, Rotary
from refrain.exporters.onnx import quantization
from refrain.exporters.onnx.builder import MICROSOFT, GraphBuilder
from refrain.exporters.onnx.integer_products import add_integer_product, is_scaled_by_token, prefer_blocks

ACTIVATION_OPERATORS = {"gelu": ("Gelu", MICROSOFT), "gelu_tanh": ("FastGelu", MICROSOFT), "relu": ("Relu", "")}


def add_transformer_block(
    builder: GraphBuilder, decoder: Decoder, layer: Layer, i: int, residual: str, branch: str | None
) -> tuple[str, str]:
    """Attention and a feed-forward net, each reading the normed residual stream and adding to it."""
    prefix = f"layers.{i}."
    normed, residual = add_norm(builder, f"{prefix}before_attention", layer.before_attention, decoder, residual, branch)
    branch = add_attention(builder, decoder, layer, i, normed)
    if layer.after_attention is not None:
        branch, _ = add_norm(builder, f"{prefix}after_attention", layer.after_attention, decoder, branch, None)
    if decoder.is_parallel:
        if layer.before_mlp is not None:
            normed, _ = add_norm(builder, f"{prefix}before_mlp", layer.before_mlp, decoder, residual, None)
        mixed = add_mlp(builder, decoder, layer, prefix, normed)
        return residual, builder.add_node("Add", [branch, mixed], f"{prefix}branches")
    normed, residual = add_norm(builder, f"{prefix}before_mlp", layer.before_mlp, decoder, residual, branch)
    branch = add_mlp(builder, decoder, layer, prefix, normed)
    if layer.after_mlp is not None:
        branch, _ = add_norm(builder, f"{prefix}after_mlp", layer.after_mlp, decoder, branch, None)
    return residual, branch


def add_norm(
    builder: GraphBuilder, name: str, norm: Norm | None, decoder: Decoder, residual: str, branch: str | None
) -> tuple[str, str]:
    """The residual stream plus its branch, normed, and as it is."""
    if norm is None:
        stream = residual if branch is None else builder.add_node("Add", [residual, branch], f"{name}.stream")
        return stream, stream
    weights = [builder.add_constant(f"{name}.weight", norm.weight)]
    if norm.bias is not None:
        weights.append(builder.add_constant(f"{name}.bias", norm.bias))
    operator = "LayerNormalization" if norm.bias is not None else "SimplifiedLayerNormalization"
    if branch is None:
        return builder.add_node(operator, [residual, *weights], name, epsilon=decoder.epsilon, axis=-1), residual
    outputs = [name, "", "", f"{name}.stream"]
    builder.add_nodes(f"Skip{operator}", [residual, branch, *weights], outputs, MICROSOFT, epsilon=decoder.epsilon)
    return name, f"{name}.stream"


def add_attention(builder: GraphBuilder, decoder: Decoder, layer: Layer, i: int, normed: str) -> str:
    """Grouped-query attention (arXiv:2305.13245) over the cache, rotary positions inside."""
    prefix, heads, kv_heads, head_dim = f"layers.{i}.", decoder.heads, decoder.kv_heads, decoder.head_dim
    past = [f"past_key_values.{i}.{name}" for name in ("key", "value")]
    present = [f"present.{i}.{name}" for name in ("key", "value")]
    cache_type, scales, cache_attributes = add_cache_scales(builder, i)
    for names, values, length in ((past, builder.inputs, "past"), (present, builder.outputs, "total")):
        shape: list[str | int | None] = ["batch_size", kv_heads, f"{length}_sequence_length", head_dim]
        values += [helper.make_tensor_value_info(name, cache_type, shape) for name in names]
    qkv = [add_linear(builder, f"{prefix}qkv", layer.qkv, normed), "", ""]
    if layer.q_norm is not None and layer.k_norm is not None:  # the CPU's operator norms no heads, so they come apart
        widths = builder.add_constant("qkv_widths", np.array([heads, kv_heads, kv_heads]) * head_dim)
        qkv = builder.add_nodes("Split", [qkv[0], widths], [f"{prefix}{name}" for name in "qkv"], "", axis=-1)
        qkv[0] = add_head_norm(builder, qkv[0], layer.q_norm, decoder, heads)
        qkv[1] = add_head_norm(builder, qkv[1], layer.k_norm, decoder, kv_heads)
    rotary = ["", ""] if layer.rotary is None else add_rotary_tables(builder, layer.rotary, decoder.context)
    inputs = [*qkv, *past, "seqlens_k", "total_length", *rotary, "", "", "", *scales]
    while not inputs[-1]:
        inputs.pop()
    mixed = builder.add_nodes(
        "GroupQueryAttention",
        inputs,
        [f"{prefix}attention", *present],
        MICROSOFT,
        num_heads=heads,
        kv_num_heads=kv_heads,
        scale=decoder.scale,
        do_rotary=int(layer.rotary is not None),
        local_window_size=-1 if layer.window is None else layer.window,
        **({"softcap": decoder.attention_softcap} if decoder.attention_softcap else {}),
        **cache_attributes,
    )
    return add_linear(builder, f"{prefix}out", layer.out, mixed[0])


def add_cache_scales(builder: GraphBuilder, i: int) -> tuple[int, list[str], dict[str, Any]]:
    """The type in which a layer keeps keys and values, and in 8 bits their scales, and what says so to the operator."""
    if builder.precision.kv_bits == 32:
        return TensorProto.FLOAT, [], {}
    pair = builder.calibration.kv_scales[2 * i : 2 * i + 2]
    scales = [builder.add_constant(f"layers.{i}.{kind}_scale", value) for kind, value in zip("kv", pair, strict=True)]
    attributes = {"k_quant_type": "PER_CHANNEL", "v_quant_type": "PER_CHANNEL", "kv_cache_bit_width": 8}
    return TensorProto.INT8, scales, attributes


def add_head_norm(builder: GraphBuilder, packed: str, head_weights: Norm, decoder: Decoder, heads: int) -> str:
    """Each head's numbers normed by themselves, or where there is a weight for every number all of them as one."""
    if len(head_weights.weight) != decoder.head_dim:
        return add_norm(builder, f"{packed}.norm", head_weights, decoder, packed, None)[0]
    split_shape = builder.add_constant(f"heads_{heads}", np.array([0, 0, heads, decoder.head_dim]))
    packed_shape = builder.add_constant(f"width_{heads}", np.array([0, 0, heads * decoder.head_dim]))
    split = builder.add_node("Reshape", [packed, split_shape], f"{packed}.heads")
    name, _ = add_norm(builder, f"{packed}.norm", head_weights, decoder, split, None)
    return builder.add_node("Reshape", [name, packed_shape], f"{packed}.normed")


def add_rotary_tables(builder: GraphBuilder, rotary: Rotary, context: int) -> list[str]:
    """Tables of cosines and sines, [context, pairs], one pair of them for all layers that turn alike."""
    angles = np.arange(context, dtype=np.float32)[:, None] * rotary.frequencies[None]
    name = f"turn_{float(rotary.frequencies[-1]):.6g}"
    tables = []
    for kind, table, still in (("cos", np.cos(angles), 1.0), ("sin", np.sin(angles), 0.0)):
        if rotary.factor != 1:
            table = table * np.float32(rotary.factor)
        if rotary.width is not None:
            rest = np.full((context, rotary.width // 2 - len(rotary.frequencies)), still, dtype=np.float32)
            table = np.concatenate([table, rest], axis=1)
        tables.append(builder.add_constant(f"{name}.{kind}", table))
    return tables


def add_mlp(builder: GraphBuilder, decoder: Decoder, layer: Layer, prefix: str, normed: str) -> str:
    """down(act(up(x))), or where it is gated down(act(gate(x)) * up(x)) (arXiv:2002.05202)."""
    up = add_linear(builder, f"{prefix}up", layer.up, normed)
    if not decoder.gated:
        return add_down(builder, prefix, layer.down, add_activation(builder, decoder.activation, up))
    widths = builder.add_constant("gate_widths", np.full(2, len(layer.up.weight) // 2))
    gate, up_half = builder.add_nodes("Split", [up, widths], [f"{prefix}gate", f"{prefix}let"], "", axis=-1)
    gated = builder.add_node("Mul", [add_activation(builder, decoder.activation, gate), up_half], f"{prefix}passed")
    return add_down(builder, prefix, layer.down, gated)


def add_down(builder: GraphBuilder, prefix: str, down: Linear, source: str) -> str:
    """The product that reads what no norm has evened out, in blocks where a variant by token has some."""
    precision, builder.precision = builder.precision, prefer_blocks(builder.precision)
    output = add_linear(builder, f"{prefix}down", down, source)
    builder.precision = precision
    return output


def add_activation(builder: GraphBuilder, kind: str, values: str) -> str:
    if kind == "silu":  # x * sigmoid(alpha x), one operator where Sigmoid and Mul are two
        return builder.add_node("QuickGelu", [values], f"{values}.active", MICROSOFT, alpha=1.0)
    if kind == "relu2":
        positive = builder.add_node("Relu", [values], f"{values}.positive")
        return builder.add_node("Mul", [positive, positive], f"{values}.active")
    operator, domain = ACTIVATION_OPERATORS[kind]
    return builder.add_node(operator, [values], f"{values}.active", domain)


def add_linear(
    builder: GraphBuilder, name: str, layer: Linear, source: str, bits: int | None = None, output: str | None = None
) -> str:
    """A matrix product in the bits of the variant, with the bias inside where the operator takes one."""
    precision = builder.precision
    bits, output = bits or precision.bits, output or name
    if is_scaled_by_token(precision, bits):
        return add_integer_product(builder, name, layer, source, output)
    if bits not in (4, 8) or precision.block is None:
        product = output if layer.bias is None else f"{name}.product"
        builder.add_node("MatMul", [source, add_full_precision(builder, f"{name}.weight", layer.weight.T)], product)
        if layer.bias is None:
            return product
        return builder.add_node("Add", [product, builder.add_constant(f"{name}.bias", layer.bias)], output)
    blocks = quantization.quantize(layer.weight, bits, precision.block, precision.symmetric, precision.rounding)
    inputs = [
        source,
        builder.add_constant(f"{name}.codes", blocks.codes),
        builder.add_constant(f"{name}.scales", blocks.scales),
    ]
    inputs.append("" if blocks.zeros is None else builder.add_constant(f"{name}.zeros", blocks.zeros))
    inputs += ["", "" if layer.bias is None else builder.add_constant(f"{name}.bias", layer.bias)]
    return add_matmul_nbits(builder, inputs, output, layer.weight.shape, bits, precision.block)


def add_matmul_nbits(
    builder: GraphBuilder, inputs: list[str], output: str, shape: tuple[int, ...], bits: int, block_size: int
) -> str:
    """Weights in few bits times activations, which stay as they are: no row sees another."""
    while not inputs[-1]:
        inputs.pop()
    rows, columns = shape
    attributes = {
        "N": rows,
        "K": columns,
        "bits": bits,
        "block_size": block_size,
        "accuracy_level": builder.precision.accuracy,
    }
    return builder.add_node("MatMulNBits", inputs, output, MICROSOFT, **attributes)


def add_full_precision(builder: GraphBuilder, name: str, value: Array) -> str:
    """A matrix in fp32; in fp16 on disk, where the variant says so: widened once, when the session opens."""
    if builder.precision.bits != 16:
        return builder.add_constant(name, value)
    half = builder.add_constant(f"{name}.half", value.astype(np.float16))
    return builder.add_node("Cast", [half], name, to=TensorProto.FLOAT)
