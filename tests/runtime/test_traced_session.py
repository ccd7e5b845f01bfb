"""The graph that optimum traces: it says what PyTorch says, and knows neither buffers nor rows of different length."""

import json

import numpy as np
import onnx
import pytest
import torch
import traced_model
from onnx import helper, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16
from transformers import AutoModelForCausalLM

from refrain.exporters.onnx import exporter
from refrain.runtime import loading, traced_session
from refrain.runtime.session import PREFILL_CHUNK

ROW = [72, 200, 3, 258, 41, 41, 0, 199]
LONG = np.random.default_rng(0).integers(0, 259, 3 * PREFILL_CHUNK + 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return traced_model.build(tmp_path_factory.getbasetemp() / "tiny")


@pytest.fixture(scope="module")
def lm(folder):
    return loading.load_model(folder, 1)


@pytest.fixture
def changed(folder, tmp_path):
    """A function that saves another graph beside the configuration, and opens it."""

    def load(model):
        onnx.save(model, tmp_path / "model.onnx")
        (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
        return loading.load_model(tmp_path, 1)

    return load


def ones(rows, length):
    return np.ones((rows, length), dtype=np.int64)


def whole(lm, row=ROW):
    """Logits of a row in one call."""
    return lm.forward(np.array([row]), ones(1, len(row)), None)[0]


def piecewise(lm, row=ROW, first=3):
    """Logits of a row: some ids at once, then one by one with the cache."""
    logits, cache = lm.forward(np.array([row[:first]]), ones(1, first), None)
    steps = [logits]
    for length in range(first + 1, len(row) + 1):
        logits, cache = lm.forward(np.array([row[length - 1 : length]]), ones(1, length), cache)
        steps.append(logits)
    return np.concatenate(steps, axis=1)


def test_it_is_opened_as_what_it_is(lm):
    assert isinstance(lm, traced_session.TracedSession)


def test_logits_are_those_of_the_model_that_was_exported(lm, folder):
    model = AutoModelForCausalLM.from_pretrained(folder.parent / "torch").eval()
    with torch.no_grad():
        expected = model(torch.tensor([ROW])).logits.numpy()
    assert np.abs(whole(lm) - expected).max() < 1e-4
    assert expected.std() > 0.1, "logits that are all alike would prove nothing"


def test_cached_logits_are_the_uncached_ones(lm):
    assert np.abs(piecewise(lm) - whole(lm)).max() < 1e-4


def test_positions_count_what_the_mask_shows():
    assert traced_session.position_ids(np.array([[0, 0, 1, 1], [1, 1, 1, 1]])).tolist() == [[0, 0, 0, 1], [0, 1, 2, 3]]


def test_a_token_takes_keys_and_values_of_every_layer(lm):
    assert lm.kv_bytes_per_token == 2 * 2 * (2 * traced_model.HEAD_DIM * 4), "layers, keys and values, heads in fp32"


def test_a_head_may_be_wider_than_hidden_size_by_heads(lm, folder):
    config = json.loads((folder / "config.json").read_text())
    assert config["hidden_size"] // config["num_attention_heads"] != traced_model.HEAD_DIM
    _, cache = lm.forward(np.array([ROW]), ones(1, 8), None)
    shape = [1, config["num_key_value_heads"], len(ROW), traced_model.HEAD_DIM]
    assert [value.shape() for value in cache] == [shape] * 4


def test_two_continuations_may_share_a_cache(lm):
    _, cache = lm.forward(np.array([ROW]), ones(1, 8), None)
    after = [lm.forward(np.array([[token]]), ones(1, 9), cache)[0][0, -1] for token in (1, 2, 1)]
    assert np.array_equal(after[0], after[2]) and not np.array_equal(after[0], after[1])
    assert np.abs(after[1] - whole(lm, [*ROW, 2])[0, -1]).max() < 1e-4


def test_a_cache_in_half_precision_is_read_from_the_graph(lm, folder, changed):
    half = changed(convert_float_to_float16(onnx.load(folder / "model.onnx")))
    _, cache = half.forward(np.array([ROW]), ones(1, 8), None)
    assert {value.numpy().dtype for value in cache} == {np.dtype(np.float16)}
    assert whole(half).dtype == np.float32
    assert np.abs(piecewise(half) - whole(lm)).max() < 0.05


def test_rows_in_half_precision_may_be_cut_and_go_on(folder, changed):
    half = changed(convert_float_to_float16(onnx.load(folder / "model.onnx")))
    slots = half.allocate_slots(1)
    first = slots.prefill(0, np.array(ROW))
    slots.crop(0, 5)
    assert np.array_equal(slots.prefill(0, np.array(ROW[5:])), first)


def test_a_graph_that_counts_positions_itself_is_given_none(lm, folder, changed):
    model = onnx.load(folder / "model.onnx")
    graph = model.graph
    graph.input.remove(next(each for each in graph.input if each.name == "position_ids"))
    for name, value in {"axis": 1, "one": [1], "zero": [0], "huge": [2**60]}.items():
        graph.initializer.append(numpy_helper.from_array(np.array(value), f"own_{name}"))
    counted = [
        helper.make_node("CumSum", ["attention_mask", "own_axis"], ["own_sum"]),
        helper.make_node("Sub", ["own_sum", "own_one"], ["own_positions"]),
        helper.make_node("Shape", ["input_ids"], ["own_length"], start=1),
        helper.make_node("Neg", ["own_length"], ["own_first"]),
        helper.make_node("Slice", ["own_positions", "own_first", "own_huge", "own_one"], ["position_ids"]),
    ]
    for node in reversed(counted):
        graph.node.insert(0, node)
    assert np.abs(piecewise(changed(model)) - whole(lm)).max() < 1e-4


def test_with_a_scale_for_all_tokens_of_a_call_rows_that_begin_alike_still_do(folder, tmp_path):
    exporter.quantize_dynamically(folder, tmp_path)
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    lm = loading.load_model(tmp_path, 1)
    slots = lm.allocate_slots(3)
    slots.prefill(0, LONG)
    slots.prefill(1, LONG[: 2 * PREFILL_CHUNK + 9])
    slots.copy(1, 2, 2 * PREFILL_CHUNK)
    slots.prefill(2, LONG[2 * PREFILL_CHUNK :])
    after = [slots.prefill(row, np.array([5])) for row in (0, 2)]
    assert np.array_equal(*after)
    slots.crop(1, 0)
    for begin in range(0, len(LONG), 9):
        slots.prefill(1, LONG[begin : begin + 9])
    assert not np.array_equal(slots.prefill(1, np.array([5])), after[0]), "cut elsewhere they do not"
