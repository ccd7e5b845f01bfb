"""Which variant is the best: the one that reads and multiplies its weights in the least time, by costs in conf/.

Nothing is timed here: a time is another one on every run, and the artifact's bytes must not be. The costs were measured
(docs/results.md), and `refrain bench` measures them again on the machine it runs on.
"""

import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from refrain.pipeline import paths
from refrain.runtime import onnx_folder

if TYPE_CHECKING:
    from refrain.pipeline.schema import ExportConfig

MATMULS = ("MatMul", "FusedMatMul", "Gemm", "MatMulNBits", "MatMulInteger")
TIE = 0.05  # of variants whose costs are this near the smallest is the best


def select_best(folder: Path, export: "ExportConfig") -> str:
    """The variant that was asked for, else the cheapest; copied to folder/best. ValueError if the gate removed it."""
    folders = {name: folder / name for name in export.variants if (folder / name).is_dir()}
    if export.best is not None and export.best not in folders:
        raise ValueError(f"export.best={export.best}: the gate has left it out; choose one of {', '.join(folders)}")
    name = export.best or cheapest({name: cost_and_size(path, export.cost) for name, path in folders.items()})
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
    """Microseconds that a token takes on the weights alone, each matrix read once."""
    return sum(count / 1e6 * costs[kind] for kind, count in count_weights(folder).items())


def count_weights(folder: Path) -> dict[str, int]:
    """How many weights are multiplied for each token, by what they are in memory: fp32, int8 or int4."""
    import onnx  # what serves measures variants without it

    graph = onnx.load(folder / onnx_folder.GRAPH, load_external_data=False).graph
    sizes = {item.name: math.prod(item.dims) for item in graph.initializer}
    source_of = {node.output[0]: node.input[0] for node in graph.node if node.op_type in ("Cast", "Transpose")}
    counts: dict[str, int] = {}
    for node in (node for node in graph.node if node.op_type in MATMULS):
        attributes = {item.name: item.i for item in node.attribute}
        name = source_of.get(node.input[1], node.input[1])
        is_quantized = "bits" in attributes or node.op_type == "MatMulInteger"
        kind = f"int{attributes.get('bits', 8)}" if is_quantized else "fp32"
        size = sizes.get(name, 0)  # 0: not a matrix of weights
        counts[kind] = counts.get(kind, 0) + (attributes["K"] * attributes["N"] if "bits" in attributes else size)
    return counts
