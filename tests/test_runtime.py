import json
import sys

import numpy as np
import onnx
import pytest
import tiny_onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16
from transformers import AutoModelForCausalLM

from refrain import runtime

ROW = [72, 200, 3, 258, 41, 41, 0, 199]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_onnx.build(tmp_path_factory.getbasetemp() / "tiny")


@pytest.fixture(scope="module")
def session(folder):
    return runtime.Session(folder)


def ones(rows, length):
    return np.ones((rows, length), dtype=np.int64)


def whole(session, row=ROW):
    """Logits of a row in one call."""
    return session.forward(np.array([row]), ones(1, len(row)), None)[0]


def piecewise(session, row=ROW, first=3):
    """Logits of a row: some ids at once, then one by one with the cache."""
    logits, cache = session.forward(np.array([row[:first]]), ones(1, first), None)
    steps = [logits]
    for length in range(first + 1, len(row) + 1):
        logits, cache = session.forward(np.array([row[length - 1 : length]]), ones(1, length), cache)
        steps.append(logits)
    return np.concatenate(steps, axis=1)


def test_logits_are_those_of_the_model_that_was_exported(session, folder):
    model = AutoModelForCausalLM.from_pretrained(folder.parent / "torch").eval()
    with torch.no_grad():
        expected = model(torch.tensor([ROW])).logits.numpy()
    assert np.abs(whole(session) - expected).max() < 1e-4
    assert expected.std() > 0.1, "logits that are all alike would prove nothing"


def test_cached_logits_are_the_uncached_ones(session):
    assert np.abs(piecewise(session) - whole(session)).max() < 1e-4


def test_a_left_padded_row_has_the_logits_it_has_alone(session):
    ids = np.array([[0, 0, 0, 0, 0, *ROW[:3]], ROW])
    mask = np.array([[0, 0, 0, 0, 0, 1, 1, 1], [1] * 8])
    logits, cache = session.forward(ids, mask, None)
    assert np.abs(logits[:1, 5:] - whole(session, ROW[:3])).max() < 1e-4
    after, _ = session.forward(np.array([[9], [9]]), np.pad(mask, ((0, 0), (0, 1)), constant_values=1), cache)
    assert np.abs(after[0, 0] - whole(session, [*ROW[:3], 9])[0, -1]).max() < 1e-4


def test_positions_count_what_the_mask_shows():
    assert runtime.positions(np.array([[0, 0, 1, 1], [1, 1, 1, 1]])).tolist() == [[0, 0, 0, 1], [0, 1, 2, 3]]


def test_a_head_may_be_wider_than_hidden_size_by_heads(session, folder):
    config = json.loads((folder / "config.json").read_text())
    assert config["hidden_size"] // config["num_attention_heads"] != tiny_onnx.HEAD_DIM
    _, cache = session.forward(np.array([ROW]), ones(1, 8), None)
    shape = [1, config["num_key_value_heads"], len(ROW), tiny_onnx.HEAD_DIM]
    assert [value.shape() for value in cache] == [shape] * 4


def test_two_continuations_may_share_a_cache(session):
    _, cache = session.forward(np.array([ROW]), ones(1, 8), None)
    after = [session.forward(np.array([[token]]), ones(1, 9), cache)[0][0, -1] for token in (1, 2, 1)]
    assert np.array_equal(after[0], after[2]) and not np.array_equal(after[0], after[1])
    assert np.abs(after[1] - whole(session, [*ROW, 2])[0, -1]).max() < 1e-4


def test_a_cache_in_half_precision_is_read_from_the_graph(session, folder, tmp_path):
    onnx.save(convert_float_to_float16(onnx.load(folder / "model.onnx")), tmp_path / "model.onnx")
    half = runtime.Session(tmp_path)
    _, cache = half.forward(np.array([ROW]), ones(1, 8), None)
    assert {value.numpy().dtype for value in cache} == {np.dtype(np.float16)}
    assert whole(half).dtype == np.float32
    assert np.abs(piecewise(half) - whole(session)).max() < 0.05


def test_a_graph_that_counts_positions_itself_is_given_none(session, folder, tmp_path):
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
    onnx.save(model, tmp_path / "model.onnx")
    assert np.abs(piecewise(runtime.Session(tmp_path)) - whole(session)).max() < 1e-4


def test_a_missing_model_is_named_with_the_way_out(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere/model\.onnx: .*`dvc pull models/onnx` .*`dvc repro`"):
        runtime.Session(tmp_path / "nowhere")


@pytest.mark.parametrize("size", [0, 1000, 100_000])
def test_a_broken_model_is_named_in_one_sentence(folder, tmp_path, size):
    (tmp_path / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:size])
    with pytest.raises(ValueError, match=r"^.*/model\.onnx: it does not open .*`refrain check .*$"):
        runtime.Session(tmp_path)


def test_a_graph_without_a_past_is_refused(tmp_path):
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["rows", "length"])
    logits = helper.make_tensor_value_info("logits", TensorProto.INT64, ["rows", "length"])
    same = helper.make_node("Identity", ["input_ids"], ["logits"])
    graph = helper.make_graph([same], "no_past", [ids], [logits])
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="it takes no past; export it as text-generation-with-past"):
        runtime.Session(tmp_path)


def test_the_context_is_what_the_config_says(folder, tmp_path):
    assert runtime.context(folder) == tiny_onnx.CONTEXT
    (tmp_path / "config.json").write_text('{"n_positions": 1024}')
    assert runtime.context(tmp_path) == 1024, "as GPT-2 calls it"
    (tmp_path / "config.json").write_text('{"model_type": "bloom"}')
    assert runtime.context(tmp_path) == sys.maxsize
