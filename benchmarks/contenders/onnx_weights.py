"""How much of an ONNX file one token reads."""

import math
from pathlib import Path

import onnx

ROWS = {"Gather", "GatherBlockQuantized"}  # of their table they read a row for each token, not the whole
INPUTS = {"GroupQueryAttention": 7}  # what follows are rotation tables, of which it reads rows too


def bytes_per_token(path: Path) -> int:
    """The bytes of all weights that some operator reads whole; one that serves embedding and head counts once."""
    graph = onnx.load(path, load_external_data=False).graph
    read = {name for node in graph.node if node.op_type not in ROWS for name in node.input[: INPUTS.get(node.op_type)]}
    return sum(size(tensor) for tensor in graph.initializer if tensor.name in read)


def size(tensor: onnx.TensorProto) -> int:
    dims: list[int] = list(tensor.dims)
    return math.prod(dims) * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
