"""The merged model in an engine: PyTorch says what the exported model says."""

import json
import shutil

import numpy as np
import pytest

from refrain.chat import encoding
from refrain.generation import engine, request, sampling
from refrain.generation.engine import Engine
from refrain.generation.request import GenerationRequest
from refrain.models.pytorch import torch_session
from refrain.runtime import loading

QUESTIONS = ["hello 🙂", "the user " * 12, "não", "the user " * 12 + "and the assistant"]


@pytest.fixture(scope="module")
def session(merged):
    return torch_session.open_session(merged, threads=1, device="cpu")


def replies(lm, folder, params, slots):
    """What is said to each question, with the log-probabilities of all its tokens."""
    tokenizer = encoding.load_tokenizer(folder)
    sequences = [
        request.start_sequence(
            tokenizer,
            GenerationRequest(
                encoding.encode_prompt(tokenizer, [{"role": "user", "content": text}]), params, 12, (), None, 0
            ),
        )
        for text in QUESTIONS
    ]
    list(engine.run(Engine(lm, slots), sequences))
    return [(each.text, each.ids, [found.chosen for found in each.logprobs]) for each in sequences]


def test_pytorch_says_what_the_exported_model_says(session, merged, onnx):
    params = sampling.SamplingParams()
    said, exported = (
        replies(session, merged, params, 3),
        replies(loading.load_model(onnx / "fp32", 1), merged, params, 3),
    )
    assert [ids for _, ids, _ in said] == [ids for _, ids, _ in exported]
    for (_, _, ours), (_, _, theirs) in zip(said, exported, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)


def test_nobody_is_changed_by_those_beside_them(session, merged):
    params = sampling.SamplingParams(temperature=1.5, seed=5)
    assert replies(session, merged, params, 1) == replies(session, merged, params, 4)


def test_slots_are_copied_cropped_and_exchanged_without_touching_others(session):
    slots = session.allocate_slots(3)
    first, second = np.arange(3, 40), np.arange(50, 70)
    slots.prefill(0, first)
    slots.prefill(1, second)
    slots.copy(0, 2, 20)
    slots.swap(0, 1)
    again = session.allocate_slots(1)
    right = again.prefill(0, first, keep=17)
    assert np.abs(slots.prefill(2, first[20:], keep=17) - right).max() < 1e-4
    slots.crop(1, 20)
    assert np.abs(slots.prefill(1, first[20:], keep=17) - right).max() < 1e-4
    assert slots.lengths.tolist() == [20, 37, 37]
    slots.reorder([1, 1])
    token = np.array([7, 7, 7])
    alone = again.decode(token[:1])[0]
    assert all(np.abs(row - alone).max() < 1e-4 for row in slots.decode(token))
    slots.release(0, 0)
    assert slots.lengths.tolist() == [0, 38, 38]


def test_what_does_not_open_is_refused_in_a_sentence(merged, onnx, tmp_path):
    with pytest.raises(ValueError, match="and safetensors; name a merged model"):
        torch_session.open_session(onnx / "fp32")
    with pytest.raises(ValueError, match="device: abacus is none that PyTorch has here"):
        torch_session.open_session(merged, device="abacus")
    folder = tmp_path / "merged"
    shutil.copytree(merged, folder)
    (folder / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(ValueError, match="its weights are cut short"):
        torch_session.open_session(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "evil.Model"}}))
    with pytest.raises(ValueError, match="which names code to run"):
        torch_session.open_session(folder)


def test_more_than_the_model_sees_is_refused(session):
    with pytest.raises(ValueError, match="the model sees"):
        session.allocate_slots(1).prefill(0, np.zeros(session.context + 1, dtype=np.int64))
