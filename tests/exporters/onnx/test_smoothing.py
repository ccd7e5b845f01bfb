"""Outliers of activations go into the weights: the same model, which 8 bits by token harm less."""

from collections import Counter
from dataclasses import replace

import numpy as np
import onnx as onnx_format
import pytest
import small_architectures
import torch
import traced_model
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForCausalLM, Olmo2Config

from refrain.chat.records import write_rows
from refrain.evaluation import divergence
from refrain.exporters.architectures import families
from refrain.exporters.onnx import graph, smoothing
from refrain.exporters.onnx.builder import NO_CALIBRATION, Calibration
from refrain.pipeline.export_schema import QuantizationConfig
from refrain.runtime import loading

NO_NORMS_BEFORE = {"olmo2": Olmo2Config(**small_architectures.OWN_WIDTH | {"hidden_size": 64})}
CONFIGS = small_architectures.CONFIGS | NO_NORMS_BEFORE
FAMILIES = ["llama", "qwen2", "gemma2", "gemma3", "phi", "olmo2", "cohere", "stablelm", "gpt2"]
PLAIN = QuantizationConfig(bits=32)
TOKEN = QuantizationConfig(bits=8, activations="token", head_bits=8)
MIXED = replace(TOKEN, block=16)
SEQUENCES = np.random.default_rng(3).integers(0, 97, (6, 40)).tolist()
OUTLIERS = np.float32(60)


@pytest.fixture(scope="module")
def draw_model(tmp_path_factory):
    """A function that draws a random model, smoothed if it is given sizes, and gives the folder."""
    base = tmp_path_factory.mktemp("smoothing")

    def draw(family, precision=PLAIN, calibration=NO_CALIBRATION):
        source, out = base / family, base / str(len(list(base.iterdir())))
        if not source.is_dir():
            save(source, family)
        out.mkdir()
        graph.write_graph(source, out, precision, calibration)
        (out / "config.json").write_bytes((source / "config.json").read_bytes())
        return out

    return draw


def save(folder, family):
    """A random model; "llama, outliers" is one of which each norm makes a few columns large that weights make small."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[family.partition(",")[0]])
    for parameter in model.parameters():  # biases and norms that are not all zeros or ones
        if parameter.dim() == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    if "outliers" in family:
        weights = load_file(folder / "model.safetensors")
        for name, weight in weights.items():
            if name.endswith("norm.weight"):
                weight[[3, 17]] *= OUTLIERS
            if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight", "gate_proj.weight", "lm_head.weight")):
                weight[:, [3, 17]] /= OUTLIERS
            if name.endswith("up_proj.weight"):
                weight[:, [3, 17]] /= OUTLIERS
                weight[5] *= OUTLIERS
            if name.endswith("down_proj.weight"):
                weight[:, 5] /= OUTLIERS
        save_file(weights, folder / "model.safetensors", {"format": "pt"})


def sizes_of(folder):
    return Calibration(activation_sizes=smoothing.measure_sizes(folder, SEQUENCES))


def logits(folder):
    lm = loading.load_model(folder, 1)
    return np.concatenate([divergence.sequence_logits(lm, ids) for ids in SEQUENCES])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_smoothed_model_says_the_same_with_other_weights(family, draw_model):
    plain = draw_model(family)
    smoothed = draw_model(family, PLAIN, sizes_of(plain))
    right, got = logits(plain), logits(smoothed)
    assert np.abs(got - right).max() < 1e-4 * right.std()
    assert (plain / "model.onnx.data").read_bytes() != (smoothed / "model.onnx.data").read_bytes()


def test_where_there_are_outliers_few_bits_harm_a_smoothed_model_less(draw_model):
    plain = draw_model("llama, outliers")
    right, sizes = logits(plain), sizes_of(plain)
    rough, smooth = (
        divergence.kl_divergence(right, logits(draw_model("llama, outliers", TOKEN, calibration))).mean()
        for calibration in (NO_CALIBRATION, sizes)
    )
    assert smooth < rough / 10


@pytest.mark.parametrize("family", ["llama, outliers", "gemma2"])
def test_with_a_block_down_projections_and_the_head_have_it_and_harm_less(family, draw_model):
    plain = draw_model(family)
    token, mixed = (draw_model(family, precision, sizes_of(plain)) for precision in (TOKEN, MIXED))
    nodes = onnx_format.load(mixed / "model.onnx", load_external_data=False).graph.node
    assert Counter(node.op_type for node in nodes if node.op_type in ("MatMulNBits", "MatMulIntegerToFloat")) == {
        "MatMulNBits": 3, "MatMulIntegerToFloat": 6
    }  # fmt: skip
    blocks = {node.output[0] for node in nodes if node.op_type == "MatMulNBits"}
    assert {"layers.0.down", "layers.1.down"} < blocks and blocks & {"logits", "logits.uncapped"}
    distances = [divergence.kl_divergence(logits(plain), logits(each)).mean() for each in (token, mixed)]
    assert distances[1] < distances[0]


@pytest.mark.parametrize("precision", [TOKEN, MIXED])
@pytest.mark.parametrize("family", ["llama, outliers", "gemma2"])
def test_a_smoothed_token_is_read_alone_as_in_company(family, precision, draw_model):
    lm = loading.load_model(draw_model(family, precision, sizes_of(draw_model(family))), 1)
    alone, together = lm.allocate_slots(1), lm.allocate_slots(4)
    alone.prefill(0, np.array(SEQUENCES[0]))
    for slot in range(4):
        together.prefill(slot, np.array(SEQUENCES[slot])[: 40 - 7 * slot])
    for step in range(6):
        ids = np.array([SEQUENCES[5][step], 1, 2, 3])
        assert np.array_equal(alone.decode(ids[:1])[0], together.decode(ids)[0])


def test_values_stay_where_their_cache_has_scales(draw_model):
    plain = draw_model("llama")
    sizes = smoothing.measure_sizes(plain, SEQUENCES)
    decoder, _ = families.read_decoder(plain.parent / "llama")
    given = decoder.read_layer(1)
    kept, free = (smoothing.smooth_decoder(decoder, sizes, each).read_layer(1) for each in (True, False))
    assert np.array_equal(kept.out.weight, given.out.weight) and not np.array_equal(free.out.weight, given.out.weight)
    assert not np.array_equal(kept.down.weight, given.down.weight)


def test_columns_are_divided_by_what_shares_them_between_both_sides_and_no_rounding_moves_it():
    rng = np.random.default_rng(0)
    size, weight = rng.uniform(0.01, 50, 300).astype(np.float32), rng.normal(size=(40, 300)).astype(np.float32)
    scales = smoothing.balance(size, weight)
    quotients = size / scales / np.sqrt(np.square(weight * scales).mean(0))
    assert (np.abs(np.log2(quotients)) <= 1 / smoothing.STEPS + 1e-3).all(), "either side has the same size"
    assert (smoothing.balance(size * np.float32(1 + 2e-6), weight) == scales).mean() > 0.99
    size[0], weight[:, 1] = 0, 0
    assert smoothing.balance(size, weight)[:2].tolist() == [1, 1], "filled up heads have nothing to share"


def test_sizes_are_of_training_rows_measured_once_and_only_where_activations_have_few_bits(onnx, rows, talk, tmp_path):
    write_rows(tmp_path / "train.jsonl", rows)
    for name in ("test", "val"):
        (tmp_path / f"{name}.jsonl").write_text("no part of this\n")
    sizes = smoothing.ActivationSizes(onnx / "fp32", talk, tmp_path)
    assert sizes.sizes_for(None) == {}
    assert sizes.sizes_for("token").keys() == {
        *(f"layers.{i}.{name}" for i in (0, 1) for name in ("qkv", "out", "up", "down")), "head"
    }  # fmt: skip
    assert sizes.sizes_for("token") is sizes.sizes_for("token")


def test_a_traced_graph_stays_as_it_is(tmp_path_factory):
    folder = traced_model.build(tmp_path_factory.getbasetemp() / "tiny")
    assert smoothing.measure_sizes(folder, SEQUENCES) == {}
