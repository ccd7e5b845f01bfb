"""Outliers of activations moved into the weights, where a scale to each channel bears them (arXiv:2211.10438).

What a product reads is divided column by column, and its weights are multiplied: exactly the same in real numbers. The
quotient lies in what is before, a norm's weight or the rows of another matrix, so nothing is computed that was not.
What a scale to each token and one to each channel round away grows with |x / s| |w s|, which is least where s is the
square root of the column's size in x by its size in w.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnxruntime import InferenceSession, SessionOptions

from refrain.chat.encoding import ChatTokenizer
from refrain.exporters.architectures.decoder import Array, Decoder, Layer, Linear, Norm
from refrain.exporters.onnx.kv_scales import training_sequences
from refrain.exporters.onnx.sensitivity import PRODUCTS
from refrain.runtime import onnx_folder

log = logging.getLogger(__name__)

MAX_TOKENS = 128  # of each training row
STEPS = 4  # scales to a doubling: what another processor rounds otherwise gives the same bytes
Sizes = Mapping[str, Array]  # by the name of a product, of each column that it reads


class ActivationSizes:
    """How large what each product of a model reads is, column by column: measured once, when a variant asks for it."""

    def __init__(self, fp32: Path, tokenizer: ChatTokenizer, prepared: Path) -> None:
        self._fp32, self._tokenizer, self._prepared = fp32, tokenizer, prepared
        self._sizes: Sizes = {}

    def sizes_for(self, activations: str | None) -> Sizes:
        """By the name of a product; none where activations stay in fp32."""
        if activations == "token" and not self._sizes:
            start, sequences = monotonic(), training_sequences(self._tokenizer, self._prepared)
            self._sizes = measure_sizes(self._fp32, [ids[:MAX_TOKENS] for ids in sequences])
            log.info("activations of %d training rows: measured in %.1f s", len(sequences), monotonic() - start)
        return self._sizes if activations == "token" else {}


def measure_sizes(fp32: Path, sequences: list[list[int]]) -> Sizes:
    """Of each column the root mean square of its share of a token; none of a traced graph, or without rows."""
    model = onnx.load(fp32 / onnx_folder.GRAPH, load_external_data=False)
    products = dict(read_products(model.graph))
    if not sequences or not any(node.op_type == "GroupQueryAttention" for node in model.graph.node):
        return {}
    past = [value for value in model.graph.input if value.name.startswith("past_key_values.")]
    add_energies(model.graph, products)
    options = SessionOptions()
    options.log_severity_level = 4  # fatal only: errors come back as exceptions
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(fp32.resolve()))
    session = InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    energies: dict[str, Array] = {}
    for ids in sequences:
        inputs: dict[str, Any] = {value.name: np.zeros(empty_shape(value), np.float32) for value in past}
        tokens = np.array([ids], dtype=np.int64)
        inputs |= {"input_ids": tokens, "attention_mask": np.ones_like(tokens)}
        found = dict(zip(products, session.run(None, inputs), strict=True))
        energies = {name: energies.get(name, np.float32(0)) + found[name] for name in products}
    count = sum(map(len, sequences))
    return {name: np.sqrt(energy / np.float32(count)) for name, energy in energies.items()}


def read_products(graph: onnx.GraphProto) -> Iterator[tuple[str, str]]:
    """The name of each product of weights, and what it reads: the head's is of all tokens, not of the last alone."""
    gathers = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Gather"}
    matrices = {constant.name for constant in graph.initializer if len(constant.dims) == 2}
    for node in graph.node:
        if node.op_type in PRODUCTS and node.input[1] in matrices:
            yield node.input[1].removesuffix(".weight"), gathers.get(node.input[0], node.input[0])


def add_energies(graph: onnx.GraphProto, products: Mapping[str, str]) -> None:
    """In place of a graph's outputs the sums, over tokens, of the squares of each column that a product reads."""
    del graph.output[:]
    graph.initializer.append(helper.make_tensor("token_axes", TensorProto.INT64, [2], [0, 1]))
    for name, source in products.items():
        unit, energy = f"{name}.unit", f"{name}.energy"
        graph.node.append(helper.make_node("LpNormalization", [source], [unit], p=2, axis=-1))
        graph.node.append(helper.make_node("ReduceSumSquare", [unit, "token_axes"], [energy], keepdims=0))
        graph.output.append(helper.make_tensor_value_info(energy, TensorProto.FLOAT, ["width"]))


def empty_shape(value: onnx.ValueInfoProto) -> tuple[int, int, int, int]:
    """Of the keys or values of one sequence of which nothing was read."""
    _, heads, _, head_dim = (dim.dim_value for dim in value.type.tensor_type.shape.dim)
    return 1, heads, 0, head_dim


def smooth_decoder(decoder: Decoder, sizes: Sizes, keeps_values: bool) -> Decoder:
    """The same decoder with smaller outliers in what its products read; values stay where the cache is scaled."""
    if not sizes:
        return decoder

    def read_layer(i: int) -> Layer:
        layer = smooth_mlp(decoder, smooth_norms(decoder, decoder.read_layer(i), i, sizes), i, sizes)
        return layer if keeps_values else smooth_values(decoder, layer, i, sizes)

    name, head = ("table", decoder.embedding) if decoder.lm_head is None else ("head", decoder.lm_head.weight)
    scales = balance(sizes[name], head)
    smooth = replace(decoder, read_layer=read_layer, final_norm=divide_norm(decoder.final_norm, scales))
    if decoder.lm_head is not None:
        return replace(smooth, lm_head=multiply_columns(decoder.lm_head, scales))
    return replace(smooth, embedding=decoder.embedding * scales, column_scales=np.float32(1) / scales)


def smooth_norms(decoder: Decoder, layer: Layer, i: int, sizes: Sizes) -> Layer:
    """What norms give to attention and to the feed-forward net, where each has a norm of its own."""
    shares_norm = decoder.is_parallel and layer.before_mlp is None
    if layer.before_attention is not None and not shares_norm:
        scales = balance(sizes[f"layers.{i}.qkv"], layer.qkv.weight)
        before, qkv = divide_norm(layer.before_attention, scales), multiply_columns(layer.qkv, scales)
        layer = replace(layer, before_attention=before, qkv=qkv)
    if layer.before_mlp is not None:
        scales = balance(sizes[f"layers.{i}.up"], layer.up.weight)
        layer = replace(layer, before_mlp=divide_norm(layer.before_mlp, scales), up=multiply_columns(layer.up, scales))
    return layer


def smooth_mlp(decoder: Decoder, layer: Layer, i: int, sizes: Sizes) -> Layer:
    """What the gate lets through."""
    if not decoder.gated:
        return layer
    scales = balance(sizes[f"layers.{i}.down"], layer.down.weight)
    return replace(layer, up=divide_last_rows(layer.up, scales), down=multiply_columns(layer.down, scales))


def smooth_values(decoder: Decoder, layer: Layer, i: int, sizes: Sizes) -> Layer:
    """What attention mixes: heads that share values share scales."""
    size, weight = sizes[f"layers.{i}.out"], layer.out.weight
    shape = (decoder.kv_heads, -1, decoder.head_dim)
    size = np.sqrt(np.square(size).reshape(shape).mean(1))
    scales = balance(size.ravel(), np.swapaxes(weight.reshape(len(weight), *shape), 1, 2).reshape(-1, size.size))
    repeated = np.repeat(scales.reshape(decoder.kv_heads, 1, -1), decoder.heads // decoder.kv_heads, axis=1)
    return replace(layer, qkv=divide_last_rows(layer.qkv, scales), out=multiply_columns(layer.out, repeated.ravel()))


def balance(size: Array, weight: Array) -> Array:
    """By what columns are divided: the roots of their sizes by those of their weights; 1 where there is nothing."""
    other = np.sqrt(np.square(weight).mean(0))
    ratios = np.divide(size, other, out=np.ones_like(size), where=(size > 0) & (other > 0))
    return np.asarray(np.exp2(np.rint(np.log2(ratios) / 2 * STEPS) / STEPS), dtype=np.float32)


def divide_norm(norm: Norm, scales: Array) -> Norm:
    return Norm(norm.weight / scales, None if norm.bias is None else norm.bias / scales)


def divide_last_rows(linear: Linear, scales: Array) -> Linear:
    """A matrix whose last results come divided."""
    divisors = np.ones(len(linear.weight), np.float32)
    divisors[-len(scales) :] = scales
    return Linear(linear.weight / divisors[:, None], None if linear.bias is None else linear.bias / divisors)


def multiply_columns(linear: Linear, scales: Array) -> Linear:
    return Linear(linear.weight * scales, linear.bias)
