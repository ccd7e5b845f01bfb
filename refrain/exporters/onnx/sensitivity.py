"""Which layers few bits harm most: measured on the fp32 graph, with the weights of one layer at a time rounded."""

import logging
import math
import os
import re
import shutil
import tempfile
from collections import defaultdict
from pathlib import Path
from time import monotonic

import numpy as np
import onnx
from onnx import numpy_helper

from refrain.evaluation import divergence
from refrain.exporters.architectures.decoder import Array
from refrain.exporters.onnx import integer_products, quantization
from refrain.pipeline import progress
from refrain.pipeline.export_schema import QuantizationConfig
from refrain.runtime import onnx_folder
from refrain.runtime.language_model import LanguageModel, Logits
from refrain.runtime.loading import load_model

log = logging.getLogger(__name__)

LAYER = re.compile(r"(?:layers|h|blocks)\.(\d+)[./]")  # in the name of a node, of either graph
PRODUCTS = ("MatMul", "FusedMatMul", "Gemm")
POSITIONS = 16  # of each sequence, the last ones: logits of all would take longer than all layers below the head


class LayerRanking:
    """The layers of a model in the order of the harm that few bits do to them, measured once for each kind of bits."""

    def __init__(self, fp32: Path, sequences: list[list[int]]) -> None:
        self.fp32, self.sequences = fp32, sequences
        self.rankings: dict[tuple[int, int | None, bool, str], list[int]] = {}

    def sensitive_layers(self, weights: QuantizationConfig) -> list[int]:
        """The share of layers that a variant has in more bits: those whose own few bits do most harm."""
        if weights.sensitive_share == 0:
            return []
        kind = (weights.bits, weights.block, weights.symmetric, weights.rounding)
        if kind not in self.rankings:
            start = monotonic()
            self.rankings[kind] = rank_layers(self.fp32, weights, self.sequences)
            log.info("layers by what %d bits do to them, measured in %.1f s", weights.bits, monotonic() - start)
        ranking = self.rankings[kind]
        layers = sorted(ranking[: math.ceil(len(ranking) * weights.sensitive_share)])
        log.info("layers %s suffer most from %d bits", layers, weights.bits)
        return layers


def rank_layers(fp32: Path, weights: QuantizationConfig, sequences: list[list[int]]) -> list[int]:
    """All layers, that first whose weights in these bits move the next tokens of the sequences furthest."""
    lm = load_model(fp32, prepacking=False)
    expected = [last_logits(lm, ids) for ids in sequences]
    del lm  # one model in memory at a time
    model = onnx.load(fp32 / onnx_folder.GRAPH, load_external_data=False)
    distances = {}
    layers = list(weights_by_layer(model.graph).items())
    for layer, names in progress.with_progress(layers, "layers", f"rounded to {weights.bits} bits"):
        with tempfile.TemporaryDirectory(
            dir=fp32.parent
        ) as scratch:  # of the same disk: weights are linked, not copied
            write_rounded(model, fp32, Path(scratch), names, weights)
            distances[layer] = mean_divergence(load_model(Path(scratch), prepacking=False), sequences, expected)
    return sorted(distances, key=lambda layer: (-distances[layer], layer))


def mean_divergence(lm: LanguageModel, sequences: list[list[int]], expected: list[Logits]) -> float:
    """In nats, of the last positions of the sequences."""
    pairs = zip(sequences, expected, strict=True)
    divergences = [divergence.kl_divergence(logits, last_logits(lm, ids)) for ids, logits in pairs]
    return float(np.concatenate(divergences).mean())


def last_logits(lm: LanguageModel, ids: list[int]) -> Logits:
    """Logits at the last positions of a sequence, which hear all others."""
    return divergence.sequence_logits(lm, ids, min(POSITIONS, len(ids)))


def layer_of(name: str) -> int | None:
    """The layer that a node belongs to, by its name."""
    match = LAYER.search(name)
    return None if match is None else int(match[1])


def weights_by_layer(graph: onnx.GraphProto) -> dict[int, list[str]]:
    """The constants that each layer multiplies with, [in, out]."""
    matrices = {constant.name for constant in graph.initializer if len(constant.dims) == 2}
    names: dict[int, list[str]] = defaultdict(list)
    for node in graph.node:
        if node.op_type in PRODUCTS and node.input[1] in matrices and (layer := layer_of(node.name)) is not None:
            names[layer].append(node.input[1])
    return dict(names)


def write_rounded(model: onnx.ModelProto, fp32: Path, out: Path, names: list[str], weights: QuantizationConfig) -> None:
    """The fp32 graph, in which some constants have the values that few bits leave of them."""
    rounded = onnx.ModelProto()
    rounded.CopyFrom(model)
    for constant in rounded.graph.initializer:
        if constant.name in names:
            value = numpy_helper.to_array(constant, str(fp32))
            constant.CopyFrom(numpy_helper.from_array(round_trip(value, weights), constant.name))
    (out / onnx_folder.GRAPH).write_bytes(rounded.SerializeToString())
    os.link(fp32 / onnx_folder.EXTERNAL_DATA, out / onnx_folder.EXTERNAL_DATA)
    shutil.copyfile(fp32 / "config.json", out / "config.json")


def round_trip(matrix: Array, weights: QuantizationConfig) -> Array:
    """A matrix [in, out] as the variant would have it."""
    rows = np.ascontiguousarray(matrix.T)
    if weights.activations == "token":
        codes, scales = integer_products.quantize_channels(rows)
        return np.ascontiguousarray((codes * scales[:, None]).T)
    block = weights.block or len(matrix)
    blocks = quantization.quantize(rows, weights.bits, block, weights.symmetric, weights.rounding)
    return np.ascontiguousarray(quantization.dequantize(blocks, weights.bits, len(matrix)).T)
