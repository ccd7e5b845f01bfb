"""Products of 8 bits with 8 bits: a scale to each channel of the weights, and one to each token of the activations.

Sums are of integers, hence exact, and no token sees another: it says the same alone and in company, to the last bit.
A token of nothing but zeros has no scale, so its codes may be any; their sums are multiplied by 0.

x86 without VNNI adds the products of two neighbours in 16 bits, where 255 * 128 fits and more is cut off. So the codes
of two neighbouring weights sum to at most 128, and every processor finds the same sums, whatever a session asks for.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from refrain.exporters.architectures.decoder import Array, Linear
from refrain.exporters.onnx import quantization
from refrain.exporters.onnx.builder import MICROSOFT, GraphBuilder
from refrain.pipeline.export_schema import QuantizationConfig

Codes = NDArray[np.int8]
STEPS, MIDDLE = np.float32(127), np.uint8(128)  # codes on either side of 0, and the code that stands for 0
REACH = np.float32(127.5)  # steps of the largest sum of two: off the codes, on which published few bits would all lie


def is_scaled_by_token(precision: QuantizationConfig, bits: int) -> bool:
    """Whether a matrix of so many bits is multiplied with activations that have a scale to each token."""
    return bits == 8 and precision.activations == "token"


def prefer_blocks(precision: QuantizationConfig) -> QuantizationConfig:
    """Of a variant that has both, scales by token and blocks, the settings of what token scales harm most."""
    return precision if precision.block is None else replace(precision, activations=None)


def add_integer_product(builder: GraphBuilder, name: str, layer: Linear, source: str, output: str) -> str:
    """A matrix product, its weights quantised here, and the bias after it."""
    codes, scales = quantize_channels(layer.weight)
    weight = builder.add_constant(f"{name}.codes", codes.T)
    steps = builder.add_constant(f"{name}.scales", scales / STEPS)
    if layer.bias is None:
        return add_product(builder, weight, steps, source, output)
    product = add_product(builder, weight, steps, source, f"{name}.product")
    return builder.add_node("Add", [product, builder.add_constant(f"{name}.bias", layer.bias)], output)


def add_product(builder: GraphBuilder, weight: str, steps: str, source: str, output: str) -> str:
    """Activations times codes [in, out]; `steps` are the scales of channels, divided by the steps of a token's."""
    codes, farthest = add_token_codes(builder, source)
    inputs = [codes, weight, farthest, steps, "token_middle"]
    return builder.add_node("MatMulIntegerToFloat", inputs, output, MICROSOFT)


def add_token_codes(builder: GraphBuilder, source: str) -> tuple[str, str]:
    """Activations as codes, and what is farthest from 0 in each token; once for all products that read them."""
    codes, farthest = f"{source}.token_codes", f"{source}.farthest"
    if builder.has_output(codes):
        return codes, farthest
    axis = builder.add_constant("token_axis", np.array([-1]))
    step, middle = builder.add_constant("token_step", 1 / STEPS), builder.add_constant("token_middle", MIDDLE)
    sizes = builder.add_node("Abs", [source], f"{source}.sizes")
    builder.add_node("ReduceMax", [sizes, axis], farthest, keepdims=1)
    shares = builder.add_node("Div", [source, farthest], f"{source}.shares")
    return builder.add_node("QuantizeLinear", [shares, step, middle], codes), farthest


def add_table(builder: GraphBuilder, table: Array) -> list[str]:
    """The table of tokens as codes and steps, both by row."""
    codes, scales = quantize_channels(table)
    return [
        builder.add_constant("table.codes", codes),
        builder.add_constant("table.scales", scales[:, None] / STEPS),
    ]


def add_table_gather(builder: GraphBuilder, parts: list[str], ids: str, output: str) -> str:
    """The rows of such a table that ids name."""
    codes, steps = (builder.add_node("Gather", [part, ids], f"{part}.read") for part in parts)
    numbers = builder.add_node("DequantizeLinear", [codes, builder.add_constant("token_steps", STEPS)], "table.numbers")
    return builder.add_node("Mul", [numbers, steps], output)


def add_table_product(builder: GraphBuilder, parts: list[str], rows: int, source: str, output: str) -> str:
    """Logits from such a table, which is turned round once, when the session opens."""
    codes, row_steps = parts
    columns = builder.add_node("Transpose", [codes], "table.columns", perm=[1, 0])
    steps = builder.add_reshaped_constant("table.row_scales", row_steps, [rows])
    return add_product(builder, columns, steps, source, output)


def quantize_channels(weight: Array) -> tuple[Codes, Array]:
    """The rows of a matrix in codes of 8 bits around 0, two neighbours summing to at most 128, and a scale to each."""
    codes, scales = zip(*quantization.map_rows(quantize_channel_rows, weight), strict=True)
    return np.concatenate(codes), np.concatenate(scales)


def quantize_channel_rows(weight: Array) -> tuple[Codes, Array]:
    """Some rows: what is widest, one weight or the sum of two neighbours, gets REACH steps."""
    rows, columns = weight.shape
    pairs = np.pad(weight, ((0, 0), (0, columns % 2))).reshape(rows, -1, 2)
    widest = np.maximum(np.abs(pairs).max((1, 2)), np.abs(pairs.sum(-1)).max(1))
    scales = np.where(widest == 0, np.float32(1), widest / REACH)
    codes = np.rint(pairs / scales[:, None, None]).clip(-STEPS, STEPS)
    return codes.reshape(rows, -1)[:, :columns].astype(np.int8), scales
