"""The best variant: the cheapest by costs that are read from the graphs, the smaller of two that cost the same."""

import shutil
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config

from refrain.chat import model_folder
from refrain.exporters.onnx import exporter, selection
from refrain.models.pytorch import loading
from refrain.pipeline.export_schema import QuantizationConfig, VariantConfig
from refrain.runtime import onnx_folder

BLOCKED = {"head_bits": 8, "block": 32}
PRECISIONS = {
    "full": QuantizationConfig(bits=32),
    "half": QuantizationConfig(bits=16),
    "int8": QuantizationConfig(bits=8, **BLOCKED),
    "int4": QuantizationConfig(bits=4, **BLOCKED),
    "one": QuantizationConfig(bits=4, block=32),
    "head": QuantizationConfig(bits=4, block=32, head_bits=32),
    "dynamic": QuantizationConfig(bits=8),
    "token": QuantizationConfig(bits=8, activations="token"),
}


@pytest.fixture(scope="module")
def tied(adapter, talk, tmp_path_factory):
    """What the merge stage would leave of a tiny GPT-2, whose head is its table of tokens."""
    folder = tmp_path_factory.mktemp("tied")
    torch.manual_seed(0)
    shape = GPT2Config(vocab_size=320, n_embd=64, n_layer=2, n_head=4, n_positions=96)
    loading.save_for_serving(AutoModelForCausalLM.from_config(shape), talk.stop_ids, folder)
    model_folder.copy_tokenizer(adapter, folder, talk.template)
    return folder


@pytest.fixture
def artifact(onnx, tmp_path):
    """A copy of three variants, as the gate leaves them."""
    return shutil.copytree(onnx, tmp_path / "onnx")


def bytes_of(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def written(folder, out, settings, graph, *names):
    """The weights by kind of the variants of a graph."""
    variants = {name: VariantConfig(PRECISIONS[name]) for name in names} | {"fp32": VariantConfig(PRECISIONS["full"])}
    exporter.export_variants(folder, out, replace(settings, graph=graph, variants=variants))
    return {
        name: {kind: count for kind, count in selection.count_weights(out / name).items() if count} for name in variants
    }


def linear(folder):
    """How many weights the layers of a model multiply with, and its head."""
    model = loading.load_pretrained(folder)
    matrices = {name: each.numel() for name, each in model.named_parameters() if each.dim() == 2}
    layers = sum(count for name, count in matrices.items() if ".layers." in name or ".h." in name)
    return layers, model.get_output_embeddings().weight.numel()


@pytest.mark.parametrize("costs, best", [
    ({"a": (10, 5), "b": (9, 9)}, "b"),
    ({"a": (10.4, 5), "b": (10, 9)}, "a"),
    ({"a": (10.6, 5), "b": (10, 9)}, "b"),
    ({"a": (10.9, 1), "b": (10.4, 9), "c": (10, 9.5)}, "b"),
    ({"b": (1, 1), "a": (1, 1)}, "a"),
    ({"a": (3, 3)}, "a"),
])  # fmt: skip
def test_the_cheapest_is_best_and_of_those_within_five_in_a_hundred_the_smallest(costs, best):
    assert selection.cheapest(costs) == best


def test_each_weight_costs_what_its_kind_does(onnx, merged):
    layers, head = linear(merged)
    by_kind = {"fp32": 1e6, "int8_token": 1e3, "int8": 1e3, "int4": 1.0}
    assert selection.microseconds_per_token(onnx / "fp32", by_kind) == pytest.approx(layers + head)
    assert selection.microseconds_per_token(onnx / "int8", by_kind) == pytest.approx((layers + head) / 1e3)
    assert selection.microseconds_per_token(onnx / "int4", by_kind) == pytest.approx((layers + head) / 1e6)


def test_finer_blocks_and_zero_points_cost_what_they_are_longer(merged, settings, tmp_path):
    """Half of the bytes of 4 bits in blocks of 16 are scales, so they may take longer than 8 bits in blocks of 32."""
    fine = QuantizationConfig(bits=4, block=16, head_bits=8, symmetric=False)
    layers, head = linear(merged)
    exporter.export_variants(
        merged, tmp_path, replace(settings, graph="compact", variants={"fine": VariantConfig(fine)})
    )
    expected = head * (1 + 5 / 16) / (1 + 4 / 32) / 1e3 + layers * (0.5 + 4.5 / 16) / (0.5 + 4 / 32) / 1e6
    assert selection.microseconds_per_token(tmp_path / "fine", {"int8": 1e3, "int4": 1.0}) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["merged", "tied"])
def test_the_compact_graph_holds_the_weights_of_the_model(name, request, settings, tmp_path):
    """The table of tokens is counted where it is multiplied with, not where a row of it is read."""
    folder = request.getfixturevalue(name)
    layers, head = linear(folder)
    assert written(
        folder, tmp_path, settings, "compact", "half", "int8", "int4", "one", "head", "dynamic", "token"
    ) == {
        "fp32": {"fp32": layers + head},
        "half": {"fp32": layers + head},
        "int8": {"int8": layers + head},
        "int4": {"int4": layers, "int8": head},
        "one": {"int4": layers + head},
        "head": {"int4": layers, "fp32": head},
        "dynamic": {"int8": layers + head} if name == "merged" else {"int8": layers, "fp32": head},
        "token": {"int8_token": layers + head},
    }


def test_the_graph_of_optimum_holds_the_weights_of_the_model(merged, settings, tmp_path):
    whole = sum(linear(merged))
    assert written(merged, tmp_path, settings, "optimum", "int8", "one", "dynamic", "token") == {
        "fp32": {"fp32": whole},
        "int8": {"int8": whole},
        "one": {"int4": whole},
        "dynamic": {"int8": whole},
        "token": {"int8_token": whole},
    }


def test_gemm_and_a_tied_head_of_optimum_are_counted(tied, settings, tmp_path):
    layers, head = linear(tied)
    assert written(tied, tmp_path, settings, "optimum", "dynamic") == {
        "fp32": {"fp32": layers + head},
        "dynamic": {"int8": layers, "fp32": head},
    }


def test_the_best_is_the_same_bytes_once_more(artifact, settings):
    before = {name: bytes_of(artifact / name) for name in settings.variants}
    best = selection.select_best(artifact, settings)
    costs = {name: selection.microseconds_per_token(artifact / name, settings.cost) for name in settings.variants}
    assert best == "int4" == min(costs, key=costs.get)
    assert bytes_of(artifact / "best") == before["int4"]
    assert {name: bytes_of(artifact / name) for name in settings.variants} == before


@pytest.mark.parametrize("cost, best", [
    ({"fp32": 1, "int8_token": 50, "int8": 50, "int4": 50}, "fp32"),
    ({"fp32": 50, "int8_token": 1, "int8": 50, "int4": 50}, "int8"),
    ({"fp32": 50, "int8_token": 50, "int8": 1, "int4": 1}, "int4"),
    ({"fp32": 1, "int8_token": 1, "int8": 1, "int4": 1}, "int4"),
])  # fmt: skip
def test_costs_in_conf_decide(cost, best, artifact, settings):
    assert selection.select_best(artifact, replace(settings, cost=cost)) == best


def test_a_variant_that_the_gate_left_out_is_no_choice_and_ends_no_run(artifact, settings, caplog):
    shutil.rmtree(artifact / "int4")
    assert selection.select_best(artifact, replace(settings, best="int4")) == "int8"
    assert caplog.messages == ["export.best=int4: the gate has left it out, so int8 is the best"]


def test_what_missed_a_threshold_by_chance_is_best_only_where_it_is_asked_for(artifact, settings):
    assert selection.select_best(artifact, settings, ["int4"]) == "int8"
    shutil.rmtree(artifact / "best")
    assert selection.select_best(artifact, replace(settings, best="int4"), ["int4"]) == "int4"


def test_what_was_asked_for_is_best_whatever_it_costs(artifact, settings):
    assert selection.select_best(artifact, replace(settings, best="fp32")) == "fp32"
    assert bytes_of(artifact / "best") == bytes_of(artifact / "fp32")


def test_the_size_is_that_of_the_graph_and_the_weights_beside_it(onnx):
    for folder in onnx.iterdir():
        files = {name: len(content) for name, content in bytes_of(folder).items()}
        assert onnx_folder.model_bytes(folder) == files["model.onnx"] + files["model.onnx.data"]
