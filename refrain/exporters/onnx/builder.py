"""An ONNX graph that grows node by node, its large constants already on disk, where they are mapped into memory."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from refrain.exporters.architectures.decoder import Array
from refrain.pipeline.export_schema import QuantizationConfig
from refrain.runtime.onnx_folder import EXTERNAL_DATA

MICROSOFT = "com.microsoft"
MAX_INLINE_BYTES = 1024  # of a constant; what is larger lies in EXTERNAL_DATA beside the graph
ALIGNMENT = 64
OPSET, IR = 21, 10


@dataclass(frozen=True)
class Calibration:
    """What was measured of a model before a variant of it is written."""

    sensitive: Collection[int] = ()  # layers that get more bits
    kv_scales: Sequence[Array] = ()  # of each layer's keys, then values, [1, kv_heads, 1, head_dim]
    activation_sizes: Mapping[str, Array] = field(default_factory=dict)  # of each column that a product reads


NO_CALIBRATION = Calibration()


class GraphBuilder:
    """The graph so far, and the precision in which its weights are drawn."""

    def __init__(
        self, data: BinaryIO, precision: QuantizationConfig, calibration: Calibration = NO_CALIBRATION
    ) -> None:
        self.precision, self.calibration = precision, calibration
        self._data = data
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._made: set[str] = set()
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def add_constant(self, name: str, value: ArrayLike) -> str:
        """A named constant, drawn once."""
        if name not in self._constants:
            array = np.ascontiguousarray(value)
            inline = array.nbytes <= MAX_INLINE_BYTES
            self._constants[name] = numpy_helper.from_array(array, name) if inline else self._write_beside(name, array)
        return name

    def add_reshaped_constant(self, name: str, source: str, shape: list[int]) -> str:
        """The bytes of a constant in another shape; what lies beside the graph lies there once."""
        if name not in self._constants:
            tensor = TensorProto()
            tensor.CopyFrom(self._constants[source])
            tensor.name, tensor.dims[:] = name, shape
            self._constants[name] = tensor
        return name

    def _write_beside(self, name: str, array: np.ndarray[Any, Any]) -> onnx.TensorProto:
        self._data.write(bytes(-self._data.tell() % ALIGNMENT))
        place = {"location": EXTERNAL_DATA, "offset": self._data.tell(), "length": array.nbytes}
        self._data.write(array.data)
        data_type = helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor = TensorProto(name=name, data_type=data_type, dims=array.shape, data_location=TensorProto.EXTERNAL)
        for key, text in place.items():
            tensor.external_data.add(key=key, value=str(text))
        return tensor

    def add_node(self, operator: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> str:
        """An operator with one output, which names it."""
        return self.add_nodes(operator, inputs, [output], domain, **attributes)[0]

    def add_nodes(
        self, operator: str, inputs: list[str], outputs: list[str], domain: str, **attributes: Any
    ) -> list[str]:
        """An operator with several outputs; the first names it."""
        self._nodes.append(helper.make_node(operator, inputs, outputs, outputs[0], domain=domain, **attributes))
        self._made.update(outputs)
        return outputs

    def has_output(self, name: str) -> bool:
        """Whether an operator that was added here makes it."""
        return name in self._made

    def add_existing(self, node: onnx.NodeProto) -> None:
        """An operator of another graph, as it is."""
        self._nodes.append(node)

    def model(self) -> onnx.ModelProto:
        """The whole graph."""
        graph = helper.make_graph(self._nodes, "decoder", self.inputs, self.outputs, list(self._constants.values()))
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR, producer_name="refrain")
