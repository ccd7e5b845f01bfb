"""An artifact: which graph is drawn, that both say the same, what a folder holds, and what is refused."""

import json
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import onnx as onnx_format
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BloomConfig,
    GenerationConfig,
    GPT2Config,
)

from refrain.chat import model_folder
from refrain.evaluation import parity, verdict
from refrain.exporters.onnx import builder, exporter
from refrain.models.pytorch import language_model
from refrain.models.pytorch import loading as models
from refrain.pipeline.export_schema import BLOCKS, QuantizationConfig, Thresholds, VariantConfig
from refrain.runtime import compact_session, traced_session
from refrain.runtime import loading as runtime

SIZES = {"vocab_size": 320, "bos_token_id": 0, "eos_token_id": 2, "initializer_range": 0.1}
SHAPES = {
    "bloom": BloomConfig(**SIZES, hidden_size=64, n_layer=2, n_head=4),
    "gpt2": GPT2Config(**SIZES, n_embd=64, n_layer=2, n_head=4, n_positions=256),
}  # fmt: skip
DYNAMIC = QuantizationConfig(bits=8)
IDS = np.array([[5, 9, 60, 200, 3, 7, 7, 120, 250]])
FULL = VariantConfig(QuantizationConfig(bits=32), Thresholds(relative_logits=1e-3, top1=1.0, greedy=1.0, rouge=0.0))


@pytest.fixture(scope="module")
def shaped(adapter, talk, tmp_path_factory):
    """A function that makes what the merge stage leaves of a random model of another shape."""

    def make(name):
        folder = tmp_path_factory.mktemp(name)
        torch.manual_seed(0)
        models.save_for_serving(AutoModelForCausalLM.from_config(SHAPES[name]), talk.stop_ids, folder)
        model_folder.copy_tokenizer(adapter, folder, talk.template)
        return folder

    return make


@pytest.fixture(scope="module")
def bloom(shaped):
    return shaped("bloom")


@pytest.fixture(scope="module")
def by_optimum(merged, settings, tmp_path_factory):
    """The fp32 variant of a Llama, traced, and what its weights in few bits are made from."""
    folder = tmp_path_factory.mktemp("optimum")
    return exported(merged, folder, settings, "optimum")


def exported(folder, out, settings, graph=None, **precisions):
    """An artifact folder: fp32, and the variants named."""
    variants = {name: VariantConfig(precision) for name, precision in precisions.items()} | {"fp32": FULL}
    exporter.export_variants(folder, out, replace(settings, graph=graph, variants=variants))
    return out


def whole(folder, ids=IDS):
    return runtime.load_model(folder).forward(ids, np.ones_like(ids), None)[0]


def files(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def operators(folder):
    graph = onnx_format.load(folder / "model.onnx", load_external_data=False).graph
    return Counter(node.op_type for node in graph.node)


def size(folder):
    return sum(file.stat().st_size for file in folder.glob("model.onnx*"))


@pytest.mark.heavy
@pytest.mark.parametrize("graph, name, kind", [
    (None, "merged", compact_session.CompactSession),
    (None, "bloom", traced_session.TracedSession),
    ("compact", "merged", compact_session.CompactSession),
    ("optimum", "merged", traced_session.TracedSession),
])  # fmt: skip
def test_the_graph_is_compact_where_it_can_be_drawn_and_nothing_else_was_asked_for(
    graph, name, kind, request, settings, tmp_path
):
    out = exported(request.getfixturevalue(name), tmp_path, settings, graph)
    assert isinstance(runtime.load_model(out / "fp32"), kind)


def test_a_family_that_cannot_be_drawn_is_refused_when_it_has_to_be(bloom, settings, tmp_path):
    with pytest.raises(ValueError, match=r"^config\.json: model_type=bloom is no family of the compact"):
        exported(bloom, tmp_path, settings, "compact")


@pytest.mark.parametrize("change", ["field", "weight"])
def test_what_a_known_family_has_beside_is_left_to_optimum(change, merged, tmp_path):
    folder = shutil.copytree(merged, tmp_path / "merged")
    assert exporter.draws_compact_graph(folder, None)
    if change == "field":
        settings = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(settings | {"logit_scale": 0.5}))
    else:
        weights = load_file(folder / "model.safetensors") | {"model.layers.1.gate.weight": np.ones(64, np.float32)}
        save_file(weights, folder / "model.safetensors")
    assert not exporter.draws_compact_graph(folder, None) and exporter.draws_compact_graph(folder, "compact")


def test_a_llama_says_the_same_in_both_graphs(merged, onnx, by_optimum):
    logits = [whole(folder / "fp32") for folder in (onnx, by_optimum)]
    right, _ = language_model.TorchLanguageModel(models.load_pretrained(merged)).forward(IDS, np.ones_like(IDS), None)
    assert right.std() > 0.1, "logits that are all alike would prove nothing"
    for got in logits:
        assert got.shape == right.shape and np.abs(got - right).max() < 1e-4


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["bloom", "gpt2"])
def test_a_traced_graph_is_the_model_too(name, shaped, talk, rows, settings, tmp_path):
    folder = shaped(name)
    out = exported(folder, tmp_path, settings, "optimum")
    speaker = language_model.TorchLanguageModel(models.load_pretrained(folder))
    asked = parity.parity_prompts(speaker, talk, rows, model_folder.read_context_length(folder), settings)
    proof = parity.measure_parity(speaker, runtime.load_model(out / "fp32"), asked, settings)
    assert verdict.judge_variant("fp32", FULL.thresholds, proof).fails == []


@pytest.mark.parametrize("graph", ["compact", "optimum"])
def test_dynamic_quantisation_shrinks_the_file_and_says_nearly_the_same(graph, merged, settings, tmp_path):
    """Seven matrices for each of two layers and the head; of the compact graph four and the head."""
    out = exported(merged, tmp_path, settings, graph, small=DYNAMIC)
    assert operators(out / "small")["MatMulInteger"] == (9 if graph == "compact" else 15)
    saved = size(out / "fp32") - size(out / "small")
    assert saved > 2.4 * 117_120, "of the four bytes of each weight more than two"
    constants = onnx_format.load(out / "small/model.onnx").graph.initializer
    arrays = {each.name: onnx_format.numpy_helper.to_array(each) for each in constants}
    codes = [name.removesuffix("_quantized") for name in arrays if name.endswith("_quantized")]
    assert codes and all(len(arrays[f"{name}_scale"]) == arrays[f"{name}_quantized"].shape[1] for name in codes)
    assert max(np.abs(arrays[f"{name}_quantized"].astype(int)).max() for name in codes) == 64, "255 * 64, twice"
    right, got = whole(out / "fp32"), whole(out / "small")
    assert 0.999 < np.corrcoef(right.ravel(), got.ravel())[0, 1] < 1


@pytest.mark.parametrize("precision, least", [
    (QuantizationConfig(bits=8, block=64), 0.999),
    (QuantizationConfig(bits=4, block=32), 0.9),
    (QuantizationConfig(bits=4, block=32, symmetric=False), 0.9),
])  # fmt: skip
def test_a_traced_graph_in_few_bits_says_nearly_the_same(precision, least, by_optimum, tmp_path):
    exporter.quantize_traced(by_optimum / "fp32", tmp_path, precision)
    found = operators(tmp_path)
    nodes = onnx_format.load(tmp_path / "model.onnx").graph.node
    inputs = {len(node.input) for node in nodes if node.op_type == "MatMulNBits"}
    assert inputs == ({3} if precision.symmetric else {4}), "the fourth are zero points"
    assert found["MatMulNBits"] == 15 and found["MatMul"] == operators(by_optimum / "fp32")["MatMul"] - 15
    shutil.copyfile(by_optimum / "fp32/config.json", tmp_path / "config.json")
    assert size(tmp_path) < size(by_optimum / "fp32") / 2
    assert least < np.corrcoef(whole(by_optimum / "fp32").ravel(), whole(tmp_path).ravel())[0, 1] < 1


@pytest.mark.parametrize("head_bits, found", [(None, {4: 15}), (8, {4: 14, 8: 1}), (32, {4: 14})])
def test_the_head_of_a_traced_graph_has_bits_of_its_own(head_bits, found, by_optimum, tmp_path):
    exporter.quantize_traced(by_optimum / "fp32", tmp_path, QuantizationConfig(bits=4, block=32, head_bits=head_bits))
    nodes = onnx_format.load(tmp_path / "model.onnx").graph.node
    given = [{each.name: each.i for each in node.attribute} for node in nodes if node.op_type == "MatMulNBits"]
    assert Counter(each["bits"] for each in given) == found


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_size_runs_in_both_graphs(block, merged, by_optimum, settings, tmp_path):
    precision = QuantizationConfig(bits=8, block=block)
    out = exported(merged, tmp_path, settings, "compact", few=precision)
    shutil.copytree(by_optimum / "fp32", tmp_path / "traced")
    exporter.quantize_traced(by_optimum / "fp32", tmp_path / "traced", precision)
    for folder in (out / "few", tmp_path / "traced"):
        nodes = onnx_format.load(folder / "model.onnx", load_external_data=False).graph.node
        given = [{each.name: each.i for each in node.attribute} for node in nodes if node.op_type == "MatMulNBits"]
        assert {(each["bits"], each["block_size"], each["accuracy_level"]) for each in given} == {(8, block, 4)}
        assert np.abs(whole(folder) - whole(out / "fp32")).max() < 0.5


def test_half_precision_is_of_the_compact_graph_only(by_optimum, tmp_path):
    with pytest.raises(ValueError, match=r"^export\.variants: 16 bits need the compact graph; leave .* export=fp32$"):
        exporter.quantize_traced(by_optimum / "fp32", tmp_path, QuantizationConfig(bits=16))


def test_a_folder_holds_all_that_a_runtime_needs(onnx, by_optimum, merged, talk):
    source, made = files(merged), {"model.onnx", "model.onnx.data", "genai_config.json"}
    for folder in (onnx / "int8", by_optimum / "fp32"):
        held = files(folder)
        assert held.keys() == (source.keys() - {"model.safetensors"}) | made
        assert {name for name in held if held[name] == source.get(name)} == held.keys() - made
        assert AutoTokenizer.from_pretrained(folder).chat_template == talk.template
        assert set(GenerationConfig.from_pretrained(folder).eos_token_id) == talk.stop_ids


@pytest.mark.parametrize("graph", ["compact", "optimum"])
def test_an_export_is_the_same_bytes_from_any_folder(graph, merged, settings, tmp_path):
    copy = shutil.copytree(merged, tmp_path / "elsewhere")
    few = {
        "dynamic": DYNAMIC,
        "int8": QuantizationConfig(bits=8, block=32),
        "int4": QuantizationConfig(bits=4, block=32),
    }
    one = exported(merged, tmp_path / "one", settings, graph, **few)
    other = exported(copy, tmp_path / "deep/er/other", settings, graph, **dict(reversed(few.items())))
    for name in ("fp32", *few):
        assert files(one / name) == files(other / name)


def test_no_protobuf_of_the_compact_graph_holds_a_matrix(onnx):
    """It ends at 2 GB, so what grows with the model lies beside it, where it is aligned for mapping into memory."""
    for folder in onnx.iterdir():
        graph = onnx_format.load(folder / "model.onnx", load_external_data=False).graph
        beside = [each for each in graph.initializer if each.data_location == onnx_format.TensorProto.EXTERNAL]
        places = [{part.key: part.value for part in each.external_data} for each in beside]
        assert {each["location"] for each in places} == {builder.EXTERNAL_DATA}
        assert not any(int(each["offset"]) % 64 for each in places)
        assert max(len(each.raw_data) for each in graph.initializer if each not in beside) <= 1024
        ends = [int(each["offset"]) + int(each["length"]) for each in places]
        assert max(ends) == (folder / builder.EXTERNAL_DATA).stat().st_size


@pytest.mark.heavy
def test_large_weights_of_a_dynamic_variant_lie_beside_it(merged, settings, tmp_path, monkeypatch):
    small = exported(merged, tmp_path / "small", settings, "optimum", few=DYNAMIC)
    monkeypatch.setattr(exporter, "MAX_GRAPH_BYTES", 50_000)
    large = exported(merged, tmp_path / "large", settings, "optimum", few=DYNAMIC)
    assert files(large / "few").keys() - files(small / "few").keys() == {"model.onnx.data"}
    assert len(files(large / "few")["model.onnx"]) < len(files(large / "few")["model.onnx.data"])
    assert np.array_equal(whole(small / "few"), whole(large / "few"))


@pytest.mark.parametrize("name", ["fp32", "int8", "int4"])
def test_what_a_row_hears_does_not_depend_on_the_rows_beside_it(onnx, name):
    model = runtime.load_model(onnx / name)
    row, quiet, loud = [5, 9, 60, 200], [7, 7, 7, 7], [250, 3, 120, 31]
    mask = np.ones((3, 4), dtype=np.int64)
    logits, caches = zip(
        *(model.forward(np.array([row, *others]), mask, None) for others in ([quiet] * 2, [loud, row])), strict=True
    )
    assert np.array_equal(logits[0][0], logits[1][0]) and not np.array_equal(logits[0][1], logits[1][1])
    after = [
        model.forward(np.array([[8], [other], [other]]), np.ones((3, 5), dtype=np.int64), cache)[0]
        for cache, other in zip(caches, (7, 120), strict=True)
    ]
    assert np.array_equal(after[0][0], after[1][0]) and not np.array_equal(after[0][1], after[1][1])
