"""Opening a model.onnx, what its config.json says, and where rows are cut."""

import json
import sys

import compact_model
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from transformers import AutoModelForCausalLM, LlamaConfig

from refrain.chat import model_folder
from refrain.exporters.onnx import graph
from refrain.pipeline.cores import available_cores
from refrain.runtime import loading, session
from refrain.runtime.session import PREFILL_CHUNK


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return compact_model.build(tmp_path_factory.getbasetemp(), "llama", "fp32")


@pytest.fixture(scope="module")
def one_head(tmp_path_factory):
    """A model with a single attention head, which many threads would share."""
    out = tmp_path_factory.mktemp("one_head")
    torch.manual_seed(0)
    shape = LlamaConfig(
        **{"vocab_size": 99, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "head_dim": 256},
        **{"num_attention_heads": 1, "max_position_embeddings": 2000, "initializer_range": 0.2},
    )
    AutoModelForCausalLM.from_config(shape).save_pretrained(out)
    graph.write_graph(out, out, compact_model.PRECISIONS["fp32"])
    return out


def test_a_missing_model_is_named_with_the_way_out(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere/model\.onnx: .*`dvc pull models/onnx` .*`dvc repro`"):
        loading.load_model(tmp_path / "nowhere")


@pytest.mark.parametrize("kept", [0, 0.1, 0.9])
def test_a_broken_graph_is_named_in_one_sentence(kept, folder, tmp_path):
    for name in ("config.json", "model.onnx.data"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    whole = (folder / "model.onnx").read_bytes()
    (tmp_path / "model.onnx").write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(ValueError, match=r"^.*/model\.onnx: it does not open .*`refrain check .*$"):
        loading.load_model(tmp_path)


@pytest.mark.parametrize("kept", [0, 0.5])
def test_weights_that_are_cut_short_or_missing_are_no_model(kept, folder, tmp_path):
    for name in ("config.json", "model.onnx"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    if kept:
        whole = (folder / "model.onnx.data").read_bytes()
        (tmp_path / "model.onnx.data").write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(ValueError, match=r"^.*/model\.onnx: it does not open .*`refrain check .*$"):
        loading.load_model(tmp_path)


def test_a_model_without_its_config_is_told_where_it_belongs(folder, tmp_path):
    for name in ("model.onnx", "model.onnx.data"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(ValueError, match=r"config\.json: no such file; it belongs beside model\.onnx"):
        loading.load_model(tmp_path)


def test_a_graph_without_a_past_is_refused(tmp_path):
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["rows", "length"])
    logits = helper.make_tensor_value_info("logits", TensorProto.INT64, ["rows", "length"])
    same = helper.make_node("Identity", ["input_ids"], ["logits"])
    drawn = helper.make_graph([same], "no_past", [ids], [logits])
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(drawn, opset_imports=opset, ir_version=9), tmp_path / "model.onnx")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="it takes no past; export it as text-generation-with-past"):
        loading.load_model(tmp_path)


@pytest.mark.parametrize("config, context, heads", [
    ({"max_position_embeddings": 96, "num_attention_heads": 4}, 96, 4),
    ({"n_positions": 1024, "n_head": 12, "n_embd": 768}, 1024, 12),  # as GPT-2 calls them
    ({"model_type": "bloom"}, sys.maxsize, sys.maxsize),
])  # fmt: skip
def test_context_and_heads_are_what_the_config_says(config, context, heads, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert (model_folder.read_context_length(tmp_path), model_folder.read_attention_heads(tmp_path)) == (context, heads)


def test_unless_it_is_told_otherwise_a_model_takes_the_cores_of_this_process_but_no_more_than_heads(folder, one_head):
    def threads(path, asked):
        return session.open_session(path, asked).get_session_options().intra_op_num_threads

    assert [threads(folder, asked) for asked in (None, 1, 3)] == [min(4, available_cores()), 1, 3]
    assert threads(one_head, None) == 1


def test_threads_of_a_session_spin_for_a_moment(folder):
    options = session.open_session(folder, 2).get_session_options()
    assert options.get_session_config_entry("session.intra_op.spin_duration_us") == str(session.SPIN_MICROSECONDS)


def test_a_long_row_is_rounded_alone_as_it_is_in_company(one_head):
    ids = np.random.default_rng(0).integers(0, 99, 1500)
    slots = loading.load_model(one_head).allocate_slots(3)
    for row in range(3):
        slots.prefill(row, ids)
    together = slots.decode(np.array([5, 6, 7]))[0]
    slots.crop(0, len(ids))
    assert np.array_equal(slots.decode(np.array([5]))[0], together)


def test_rows_are_cut_at_the_same_places_wherever_they_begin():
    whole = session.prefill_chunks(0, 5 * PREFILL_CHUNK + 1)
    assert whole == [
        (at, min(at + PREFILL_CHUNK, 5 * PREFILL_CHUNK + 1)) for at in range(0, 5 * PREFILL_CHUNK + 1, PREFILL_CHUNK)
    ]
    for begin in (1, PREFILL_CHUNK - 1, PREFILL_CHUNK, PREFILL_CHUNK + 1, 4 * PREFILL_CHUNK, 5 * PREFILL_CHUNK):
        rest = session.prefill_chunks(begin, 5 * PREFILL_CHUNK + 1)
        assert rest[0][0] == begin and rest[1:] == whole[-len(rest) :][1:]
        assert [end for _, end in rest] == [end for _, end in whole[-len(rest) :]]


def test_a_row_grows_by_one_token_at_least_and_to_the_context_at_most():
    assert (session.extended_length(0, 1, 96), session.extended_length(90, 6, 96)) == (1, 96)
    with pytest.raises(ValueError, match=r"^97 tokens: the model sees 96 at once; shorten the text$"):
        session.extended_length(90, 7, 96)
    with pytest.raises(ValueError, match=r"^the prompt: it has no ids; "):
        session.extended_length(90, 0, 96)
