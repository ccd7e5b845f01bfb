import copy
import logging
import re

import numpy as np
import onnx as onnx_format
import pytest
import torch
from onnx import numpy_helper

from refrain import chat, models, parity, records, runtime
from refrain.config import Variant
from refrain.models import Speaker
from refrain.parity import Parity

STEPS = 16
FAR = r"fp32: its (\w+) logits differ from the merged model's by \S+, {}\.fp32\.max_logit_difference allows 0\.001"
FEW = r"(\w+): \S+% of its top1 tokens are the merged model's, {}\.(\w+)\.min_top1 wants \S+%"
FAR, FEW = (sentence.format(r"export\.variants") for sentence in (FAR, FEW))


@pytest.fixture(scope="module")
def asked(talk, rows):
    return [chat.prompt(talk, row["messages"][:-1]) for row in rows[:8]]


@pytest.fixture(scope="module")
def healthy(merged):
    return Speaker(models.load(merged))


class Late:
    """A speaker that counts one position too many as soon as there is a past."""

    def __init__(self, model):
        self.model = model

    @torch.inference_mode()
    def forward(self, ids, mask, cache):
        positions = torch.from_numpy(runtime.positions(mask)[:, -ids.shape[1] :]) + (cache is not None)
        given = {"attention_mask": torch.from_numpy(mask), "past_key_values": cache, "use_cache": True}
        out = self.model(torch.from_numpy(ids), position_ids=positions, **given)
        return out.logits.numpy(), out.past_key_values


class Forgetful(Speaker):
    """A speaker whose cache is lost."""

    def forward(self, ids, mask, cache):
        return super().forward(ids, mask[:, -ids.shape[1] :], None)


class Unmasked(Speaker):
    """A speaker that hears the filling on the left of a shorter row."""

    def forward(self, ids, mask, cache):
        return super().forward(ids, np.ones_like(mask), cache)


class Stammering(Speaker):
    """A speaker that loses a single logit of one prompt."""

    def __init__(self, speaker):
        super().__init__(speaker.model)
        self.calls = 0

    def forward(self, ids, mask, cache):
        logits, cache = super().forward(ids, mask, cache)
        self.calls += 1
        if self.calls == 2:
            logits[0, 3, 5] = np.nan
        return logits, cache


def without_adapter(model, base):
    return Speaker(models.load(base))


def of_another_training(model, base):
    return Speaker(models.random(base))


def with_a_transposed_weight(model, base):
    weight = model.model.layers[0].self_attn.v_proj.weight
    assert weight.shape[0] == weight.shape[1]
    weight.data = weight.data.T.contiguous()
    return Speaker(model)


def with_swapped_layers(model, base):
    first, second = (copy.deepcopy(layer.state_dict()) for layer in model.model.layers)
    model.model.layers[0].load_state_dict(second)
    model.model.layers[1].load_state_dict(first)
    return Speaker(model)


def off_by_one(model, base):
    return Late(model)


def forgetful(model, base):
    return Forgetful(model)


def unmasked(model, base):
    return Unmasked(model)


def refused(reference, candidate, asked, variants):
    """The sentences with which a candidate is refused as any of the variants."""
    proof = parity.compare(reference, candidate, asked, STEPS)
    with pytest.raises(ValueError) as error:
        parity.require(variants, dict.fromkeys(variants, proof))
    return str(error.value).split("; ")


def test_the_healthy_chain_passes(healthy, onnx, asked, variants):
    proofs = {name: parity.compare(healthy, runtime.Session(onnx / name), asked, STEPS) for name in variants}
    parity.require(variants, proofs)
    fp32, int8 = proofs["fp32"], proofs["int8"]
    assert max(fp32.uncached, fp32.cached, fp32.padded) <= 1e-3 and (fp32.top1, fp32.greedy) == (1, 1)
    assert int8.top1 >= 0.97 and min(int8.uncached, int8.cached, int8.padded) > 1e-3


@pytest.mark.parametrize("fault, ways", [
    (without_adapter, ["uncached", "cached", "padded"]),
    (of_another_training, ["uncached", "cached", "padded"]),
    (with_a_transposed_weight, ["uncached", "cached", "padded"]),
    (with_swapped_layers, ["uncached", "cached", "padded"]),
    (off_by_one, ["cached", "padded"]),
    (forgetful, ["cached", "padded"]),
    (unmasked, ["padded"]),
])  # fmt: skip
def test_another_model_is_refused_by_variant_and_bar(fault, ways, healthy, base, asked, variants):
    sentences = refused(healthy, fault(copy.deepcopy(healthy.model), base), asked, variants)
    assert [found[1] for found in map(re.compile(FAR).fullmatch, sentences) if found] == ways
    assert [found.groups() for found in map(re.compile(FEW).fullmatch, sentences) if found] == [
        ("fp32",) * 2,
        ("int8",) * 2,
    ]


def test_a_graph_with_one_transposed_weight_is_refused(healthy, onnx, asked, variants, tmp_path):
    graph = onnx_format.load(onnx / "fp32/model.onnx")
    square = next(each for each in graph.graph.initializer if len(each.dims) == 2 and each.dims[0] == each.dims[1])
    square.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(square).T.copy(), square.name))
    onnx_format.save(graph, tmp_path / "model.onnx")
    assert re.fullmatch(FAR, refused(healthy, runtime.Session(tmp_path), asked, variants)[0])


def test_a_single_logit_that_is_no_number_is_refused(healthy, asked, variants):
    sentences = refused(healthy, Stammering(healthy), asked, variants)
    start = "{}: its uncached logits differ from the merged model's by nan, ".format
    assert sentences[0].startswith(start("fp32")) and sentences[-1].startswith(start("int8"))


@pytest.mark.parametrize("worse, sentence", [
    ({"uncached": 5.0}, "its uncached logits differ from the merged model's by 5, {}.max_logit_difference allows 0.1"),
    ({"cached": 2.0}, "its cached logits differ from the merged model's by 2, {}.max_logit_difference allows 0.1"),
    ({"padded": 0.123}, "its padded logits differ from the merged model's by 0.12, {}.max_logit_difference allows 0.1"),
    ({"top1": 0.9}, "90.0% of its top1 tokens are the merged model's, {}.min_top1 wants 95.0%"),
    ({"greedy": 0.7}, "70.0% of its greedy tokens are the merged model's, {}.min_greedy wants 80.0%"),
])  # fmt: skip
def test_each_bar_has_its_sentence(worse, sentence):
    bars = {"v": Variant(bits=8, block=64, max_logit_difference=0.1, min_top1=0.95, min_greedy=0.8)}
    just = {"uncached": 0.1, "cached": 0.1, "padded": 0.1, "top1": 0.95, "greedy": 0.8}
    parity.require(bars, {"v": Parity(**just)})
    with pytest.raises(ValueError) as error:
        parity.require(bars, {"v": Parity(**{**just, **worse})})
    assert str(error.value) == "v: " + sentence.format("export.variants.v")


def test_every_variant_that_fails_is_named(caplog):
    caplog.set_level(logging.INFO, "refrain")
    bars = Variant(bits=32, block=None, max_logit_difference=0.1, min_top1=1.0, min_greedy=1.0)
    bad = Parity(uncached=1.0, cached=0.0, padded=0.0, top1=1.0, greedy=0.5)
    with pytest.raises(ValueError, match=r"^a: its .*; a: 50\.0% .*; b: its .*; b: 50\.0% "):
        parity.require({"a": bars, "b": bars}, {"a": bad, "b": bad})
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "a     uncached 1  cached 0  padded 0  top1 1  greedy 0.5" and len(lines) == 2


def test_facts_are_short():
    proof = Parity(uncached=0.12345678, cached=1.2345e-5, padded=0.0, top1=0.987654, greedy=1.0)
    assert proof.facts() == {"uncached": 0.1235, "cached": 1.2e-5, "padded": 0.0, "top1": 0.9877, "greedy": 1.0}


def test_a_merge_that_lost_its_adapter_is_refused(healthy, base, asked):
    with pytest.raises(
        ValueError, match=r"^merged: its logits differ from the adapter's by \S+, merge\.tolerance allows 0"
    ):
        parity.require_equal(healthy, Speaker(models.load(base)), asked, 1e-4)


@pytest.mark.parametrize(
    "filled, taken", [({"train"}, "train"), ({"train", "val"}, "val"), ({"train", "val", "test"}, "test")]
)
def test_prompts_are_held_out_where_there_are_any(talk, rows, tmp_path, filled, taken):
    for i, split in enumerate(["train", "val", "test"]):
        records.write(tmp_path / f"{split}.jsonl", rows[i * 5 : i * 5 + 5] if split in filled else [])
    first = ["train", "val", "test"].index(taken) * 5
    expected = [chat.prompt(talk, row["messages"][:-1]) for row in rows[first : first + 3]]
    assert parity.prompts(talk, tmp_path, 3) == expected
