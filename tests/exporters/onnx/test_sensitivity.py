"""The layers that few bits harm most are found by measuring, and are written in more bits."""

from collections import Counter
from dataclasses import replace

import numpy as np
import onnx as onnx_format
import pytest
from safetensors.numpy import load_file, save_file

from refrain.exporters.onnx import exporter, sensitivity
from refrain.exporters.onnx.builder import Calibration
from refrain.pipeline.export_schema import QuantizationConfig

HALF = QuantizationConfig(bits=4, block=32, head_bits=8, sensitive_share=0.5)
SEQUENCES = [[5, 9, 60, 200, 3, 7], [7, 120, 250, 8]]


@pytest.fixture(scope="module", params=["compact", "optimum"])
def fragile(request, merged, tmp_path_factory):
    """A model whose first layer adds nothing, its fp32 variant, and the kind of graph."""
    folder = tmp_path_factory.mktemp("fragile")
    for file in merged.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    weights = load_file(folder / "model.safetensors")
    for name in ("self_attn.o_proj", "mlp.down_proj"):
        weights[f"model.layers.0.{name}.weight"][:] = 0
    save_file(weights, folder / "model.safetensors")
    exporter.export_variant(folder, folder / "onnx/fp32", QuantizationConfig(bits=32), request.param, 18)
    return folder, request.param


def test_a_layer_that_adds_nothing_suffers_least(fragile, merged, onnx):
    folder, _ = fragile
    assert sensitivity.rank_layers(folder / "onnx/fp32", HALF, SEQUENCES) == [1, 0]
    ranking = sensitivity.LayerRanking(folder / "onnx/fp32", SEQUENCES)
    assert ranking.sensitive_layers(HALF) == [1]
    assert ranking.sensitive_layers(replace(HALF, sensitive_share=1.0)) == [0, 1]
    assert ranking.sensitive_layers(replace(HALF, sensitive_share=0.0)) == []
    assert len(ranking.rankings) == 1, "measured once for all shares"
    assert [each.name for each in (folder / "onnx").iterdir()] == ["fp32"], "nothing is left beside it"


@pytest.mark.parametrize("bits", [8, 32])
def test_sensitive_layers_have_bits_of_their_own(bits, fragile, tmp_path):
    folder, kind = fragile
    weights = replace(HALF, sensitive_bits=bits)
    out = folder / f"onnx/mixed{bits}"
    exporter.export_variant(folder, out, weights, kind, 18, Calibration(sensitive=[1]))
    nodes = onnx_format.load(out / "model.onnx", load_external_data=False).graph.node
    found = Counter()
    for node in nodes:
        layer = sensitivity.layer_of(node.name)
        if layer is not None and node.op_type == "MatMulNBits":
            found[layer, next(each.i for each in node.attribute if each.name == "bits")] += 1
    each_layer = 4 if kind == "compact" else 7
    assert found == Counter({(0, 4): each_layer} | ({(1, 8): each_layer} if bits == 8 else {}))


@pytest.mark.parametrize("weights", [HALF, replace(HALF, bits=8, block=None, activations="token")])
def test_a_rounded_weight_is_what_the_variant_has(weights):
    matrix = np.random.default_rng(0).normal(size=(64, 24)).astype(np.float32)
    rounded = sensitivity.round_trip(matrix, weights)
    assert rounded.shape == matrix.shape and 0 < np.abs(rounded - matrix).max() < np.abs(matrix).max() / 8
