"""Which variant is the best: the one that reads and multiplies its weights in the least time, by costs in conf/.

Nothing is timed here: a time is another one on every run, and the artifact's bytes must not be. The costs were measured
(docs/results.md), and `refrain bench` measures them again on the machine it runs on.
"""

import logging
import math
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from refrain.pipeline import paths
from refrain.runtime import onnx_folder

if TYPE_CHECKING:
    from refrain.pipeline.export_schema import ExportConfig

log = logging.getLogger(__name__)

INTEGER_KINDS = {"MatMulInteger": "int8", "MatMulIntegerToFloat": "int8_token"}
MATMULS = ("MatMul", "FusedMatMul", "Gemm", "MatMulNBits", *INTEGER_KINDS)
ZERO_POINTS = 3  # their place among the inputs of MatMulNBits
BLOCK = 32  # weights that have a scale in common where costs were measured
TIE = 0.05  # of variants whose costs are this near the smallest is the best


def select_best(folder: Path, export: "ExportConfig", doubtful: Collection[str] = ()) -> str:
    """The variant that was asked for, else the cheapest that is not doubtful; copied to folder/best.

    One that was asked for and that the gate has left out ends no run: another is the best, and a warning says so.
    """
    folders = {name: folder / name for name in export.variants if (folder / name).is_dir()}
    candidates = {name: path for name, path in folders.items() if name not in doubtful} or folders
    name = export.best if export.best in folders else None
    if name is None:
        name = cheapest({each: cost_and_size(path, export.cost) for each, path in candidates.items()})
        if export.best is not None:
            log.warning("export.best=%s: the gate has left it out, so %s is the best", export.best, name)
    shutil.copytree(folder / name, folder / paths.BEST)
    return name


def cost_and_size(folder: Path, costs: dict[str, float]) -> tuple[float, int]:
    """Microseconds that a token takes on the weights of a variant, and bytes of its files."""
    return microseconds_per_token(folder, costs), onnx_folder.model_bytes(folder)


def cheapest(variants: dict[str, tuple[float, int]]) -> str:
    """Of (cost, size) by name: the smallest of those whose cost is within TIE of the least."""
    least_cost = min(cost for cost, _ in variants.values())
    sizes = {name: size for name, (cost, size) in variants.items() if cost <= least_cost * (1 + TIE)}
    return min(sizes, key=lambda name: (sizes[name], name))


def microseconds_per_token(folder: Path, costs: dict[str, float]) -> float:
    """Microseconds that a token takes on the weights alone, each matrix read once with its scales and zero points."""
    return sum(matrix.count / 1e6 * costs[matrix.kind] * matrix.bytes_ratio for matrix in read_matrices(folder))


def count_weights(folder: Path) -> dict[str, int]:
    """How many weights are multiplied for each token, by what they are in memory: fp32, int8 or int4."""
    counts: dict[str, int] = {}
    for matrix in read_matrices(folder):
        counts[matrix.kind] = counts.get(matrix.kind, 0) + matrix.count
    return counts


@dataclass(frozen=True)
class Matrix:
    """The weights of one product."""

    kind: str  # fp32, int8, int8_token or int4
    count: int
    bytes_ratio: float  # of its bytes to those in the blocks that costs were measured in


def read_matrices(folder: Path) -> Iterator[Matrix]:
    """The matrices of weights that a graph multiplies with."""
    import onnx  # what serves measures variants without it

    graph = onnx.load(folder / onnx_folder.GRAPH, load_external_data=False).graph
    sizes = {item.name: math.prod(item.dims) for item in graph.initializer}
    source_of = {node.output[0]: node.input[0] for node in graph.node if node.op_type in ("Cast", "Transpose")}
    for node in (node for node in graph.node if node.op_type in MATMULS):
        attributes = {item.name: item.i for item in node.attribute}
        if bits := attributes.get("bits"):
            has_zero_points = len(node.input) > ZERO_POINTS and bool(node.input[ZERO_POINTS])
            ratio = block_bytes(bits, attributes["block_size"], has_zero_points) / block_bytes(bits, BLOCK)
            yield Matrix(f"int{bits}", attributes["K"] * attributes["N"], ratio)
        else:
            name = source_of.get(node.input[1], node.input[1])
            yield Matrix(INTEGER_KINDS.get(node.op_type, "fp32"), sizes.get(name, 0), 1.0)  # 0: no matrix of weights


def block_bytes(bits: int, block: int, has_zero_points: bool = False) -> float:
    """Bytes of a weight with its share of the fp32 scale, and of the zero point, of its block."""
    return bits / 8 + (4 + (bits / 8 if has_zero_points else 0)) / block
