"""A graph that optimum has traced, written anew: each matrix once, in the bits of a variant, its weights beside it.

optimum stores a head that is the table of tokens as another constant, transposed; and what ONNX Runtime's quantisers
pass over, such as GPT-2's Gemm, is a product like others. Weights are read from disk one by one.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from refrain.exporters.architectures.decoder import Array, Linear
from refrain.exporters.onnx.builder import MAX_INLINE_BYTES, MICROSOFT, GraphBuilder
from refrain.exporters.onnx.embedding import add_embedding, add_gather, add_tied_head, embedding_bits
from refrain.exporters.onnx.layers import add_linear
from refrain.exporters.onnx.sensitivity import layer_of
from refrain.pipeline import progress
from refrain.pipeline.export_schema import QuantizationConfig
from refrain.runtime import onnx_folder

PRODUCTS_IN_FEW_BITS = ("MatMulNBits", "MatMulIntegerToFloat")


@dataclass(frozen=True)
class Product:
    """A node that multiplies with a constant matrix."""

    weight: str
    is_transposed: bool  # [out, in]
    bias: str | None


def rewrite_graph(source: Path, out: Path, weights: QuantizationConfig, sensitive: Collection[int] = ()) -> None:
    """The traced graph in `source`, in the bits of a variant; ValueError when nothing in it could be quantised."""
    traced = TracedGraph(source)
    with (out / onnx_folder.EXTERNAL_DATA).open("wb") as data:
        builder = GraphBuilder(data, weights)
        add_nodes(builder, traced, sensitive)
        model = traced.replace_nodes(builder)
    if weights.bits != 32 and not any(node.op_type in PRODUCTS_IN_FEW_BITS for node in model.graph.node):
        raise ValueError("model.onnx: nothing in it could be quantised, for no product has weights; choose export=fp32")
    (out / onnx_folder.GRAPH).write_bytes(model.SerializeToString(deterministic=True))


def add_nodes(builder: GraphBuilder, traced: "TracedGraph", sensitive: Collection[int]) -> None:
    """Every node of the traced graph, its products and the table of tokens in the bits of the variant."""
    precision, products = builder.precision, traced.products
    table = None if traced.table is None else traced.read(traced.table)
    parts = [] if table is None else add_embedding(builder, table)
    head = next(reversed(products), None)
    for node in progress.with_progress(list(traced.nodes), "nodes", f"{precision.bits} bits"):
        output = node.output[0]
        if table is not None and traced.is_token_gather(node):
            add_gather(builder, table, parts, node.input[1], output)
        elif output not in products:
            builder.add_existing(node)
        else:
            linear = traced.read_linear(products[output])
            if table is not None and linear.bias is None and np.array_equal(linear.weight, table):
                add_tied_head(builder, table, parts, node.input[0], output)
                continue
            if layer_of(node.name) in sensitive:
                builder.precision = replace(precision, bits=precision.sensitive_bits)
            bits = embedding_bits(precision) if output == head else None
            add_linear(builder, output, linear, node.input[0], bits, output)
            builder.precision = precision


class TracedGraph:
    """A graph on disk: its nodes, which of them are products, and its constants, read when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._model = onnx.load(folder / onnx_folder.GRAPH, load_external_data=False)
        self._constants = {constant.name: constant for constant in self._model.graph.initializer}
        self._maker_of = {name: node for node in self._model.graph.node for name in node.output}
        self.products = {
            node.output[0]: product
            for node in self._model.graph.node
            if (product := self._as_product(node)) is not None
        }
        gathers = (self._origin(node.input[0]) for node in self._model.graph.node if self.is_token_gather(node))
        self.table = next(gathers, None)
        self.nodes = list(self._model.graph.node)

    def read(self, name: str) -> Array:
        """A constant."""
        return np.asarray(numpy_helper.to_array(self._constants[name], str(self._folder)))

    def read_linear(self, product: Product) -> Linear:
        """The weight [out, in] and the bias of a product."""
        weight = self.read(product.weight)
        bias = None if product.bias is None else self.read(product.bias)
        return Linear(weight if product.is_transposed else weight.T, bias)

    def is_token_gather(self, node: onnx.NodeProto) -> bool:
        """Whether a node reads rows of a constant by the ids that the graph is given."""
        if (
            node.op_type != "Gather"
            or not self._is_matrix(self._origin(node.input[0]))
            or read_attributes(node).get("axis", 0) != 0
        ):
            return False
        ids: str = node.input[1]
        while (maker := self._maker_of.get(ids)) is not None and maker.op_type in ("Reshape", "Cast", "Identity"):
            ids = maker.input[0]
        return ids == "input_ids"

    def replace_nodes(self, builder: GraphBuilder) -> onnx.ModelProto:
        """The model with other nodes, of which those that nothing reads are left out, and the constants they need."""
        graph, model = builder.model().graph, onnx.ModelProto()
        model.CopyFrom(self._model)
        outputs = {value.name for value in self._model.graph.output}
        kept: list[onnx.NodeProto] = []
        needed = set(outputs)
        for node in reversed(graph.node):
            if needed.intersection(node.output):
                kept.append(node)
                needed.update(read_names(node))
        for name, constant in self._constants.items():
            if name in needed and is_large(constant):
                builder.add_constant(name, self.read(name))
        small = [constant for name, constant in self._constants.items() if name in needed and not is_large(constant)]
        for field in ("node", "initializer", "value_info"):
            model.graph.ClearField(field)
        model.graph.node.extend(reversed(kept))
        model.graph.initializer.extend([*builder.model().graph.initializer, *small])
        if all(opset.domain != MICROSOFT for opset in model.opset_import):
            model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
        return model

    def _as_product(self, node: onnx.NodeProto) -> Product | None:
        """A node as a product with a constant matrix, which may be transposed before."""
        attributes = read_attributes(node)
        scales = (attributes.get("alpha", 1.0), attributes.get("beta", 1.0), attributes.get("transA", 0))
        if node.op_type not in ("MatMul", "FusedMatMul", "Gemm") or scales != (1.0, 1.0, 0):
            return None
        name, is_transposed = self._origin(node.input[1]), bool(attributes.get("transB", 0))
        maker = self._maker_of.get(name)
        if maker is not None and maker.op_type == "Transpose":
            name, is_transposed = self._origin(maker.input[0]), not is_transposed
        bias = self._origin(node.input[2]) if len(node.input) == 3 else None
        has_vector = bias is None or (bias in self._constants and len(self._constants[bias].dims) == 1)
        return Product(name, is_transposed, bias) if self._is_matrix(name) and has_vector else None

    def _origin(self, name: str) -> str:
        """What a value is a copy of: PyTorch writes equal constants once, and names the others after it."""
        while (maker := self._maker_of.get(name)) is not None and maker.op_type == "Identity":
            name = maker.input[0]
        return name

    def _is_matrix(self, name: str) -> bool:
        constant = self._constants.get(name)
        return constant is not None and len(constant.dims) == 2 and constant.data_type == onnx.TensorProto.FLOAT


def read_attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def read_names(node: onnx.NodeProto) -> Iterator[str]:
    """What a node reads, in its subgraphs too."""
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from read_names(inner)


def is_large(constant: onnx.TensorProto) -> bool:
    """Whether a constant lies beside the graph."""
    size = len(constant.raw_data)
    return constant.data_location == onnx.TensorProto.EXTERNAL or size > MAX_INLINE_BYTES
