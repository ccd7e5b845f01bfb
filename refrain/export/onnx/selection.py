"""Which variant is the best: the one that reads and multiplies its weights in the least time, by costs in conf/.

Nothing is timed here: a time is another one on every run, and the artifact's bytes must not be. The costs were measured
(docs/results.md), and `refrain bench` measures them again on the machine it runs on.
"""

import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from refrain.pipeline import paths

if TYPE_CHECKING:
    from refrain.pipeline.schema import ExportConfig

WEIGHTED = ("MatMul", "FusedMatMul", "Gemm", "MatMulNBits", "MatMulInteger")


TIE = 0.05  # of variants whose costs are this near the smallest is the best


def select_best(folder: Path, export: "ExportConfig") -> str:
    """The variant that was asked for, else the cheapest; copied to folder/best. ValueError if the gate removed it."""
    there = {name: folder / name for name in export.variants if (folder / name).is_dir()}
    if export.best is not None and export.best not in there:
        raise ValueError(f"export.best={export.best}: the gate has left it out; choose one of {', '.join(there)}")
    name = export.best or cheapest({name: (cost(path, export.cost), model_bytes(path)) for name, path in there.items()})
    shutil.copytree(folder / name, folder / paths.BEST)
    return name


def cheapest(variants: dict[str, tuple[float, int]]) -> str:
    """Of (cost, size) by name: the smallest of those whose cost is within TIE of the least."""
    least = min(cost for cost, _ in variants.values())
    near = {name: size for name, (cost, size) in variants.items() if cost <= least * (1 + TIE)}
    return min(near, key=lambda name: (near[name], name))


def cost(folder: Path, by_kind: dict[str, float]) -> float:
    """Microseconds that a token takes on the weights alone, each matrix read once."""
    return sum(count / 1e6 * by_kind[kind] for kind, count in weight_counts(folder).items())


def weight_counts(folder: Path) -> dict[str, int]:
    """How many weights are multiplied for each token, by what they are in memory: fp32, int8 or int4."""
    import onnx  # what serves measures variants without it

    graph = onnx.load(folder / "model.onnx", load_external_data=False).graph
    sizes = {each.name: math.prod(each.dims) for each in graph.initializer}
    widened = {node.output[0]: node.input[0] for node in graph.node if node.op_type in ("Cast", "Transpose")}
    counts: dict[str, int] = {}
    for node in (node for node in graph.node if node.op_type in WEIGHTED):
        given = {each.name: each.i for each in node.attribute}
        name = widened.get(node.input[1], node.input[1])
        kind = f"int{given.get('bits', 8)}" if "bits" in given or node.op_type == "MatMulInteger" else "fp32"
        number = given["K"] * given["N"] if "bits" in given else sizes.get(name, 0)  # 0: not a matrix of weights
        counts[kind] = counts.get(kind, 0) + number
    return counts


def model_bytes(folder: Path) -> int:
    """Bytes of the graph and its weights."""
    return sum(file.stat().st_size for file in folder.glob("model.onnx*"))
