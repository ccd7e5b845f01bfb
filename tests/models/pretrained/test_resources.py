"""Estimates against what is measured in a moment here: sizes of files, saved tensors, memory of a cache."""

import presets
import pytest
import small_architectures
import torch

from refrain.models.pretrained import facts, resources
from refrain.models.pytorch import loading, lora
from refrain.pipeline.export_schema import QuantizationConfig
from refrain.runtime import onnx_folder
from refrain.training import packing
from refrain.training.objectives.logprobs import sequence_logprobs


@pytest.fixture(scope="module")
def shape(base):
    return facts.read_facts(base)


@pytest.mark.parametrize(
    "overrides",
    [[], ["method.adapter.layers=[q_proj, down_proj]"], ["method.adapter.dora=true"]],
)
def test_what_an_adapter_learns_is_counted_as_peft_counts_it(base, shape, overrides):
    method = presets.lora(*overrides)
    model = lora.attach_adapter(loading.load_on_meta(base), method.adapter, None)
    assert resources.trainable_parameters(shape, method) == model.get_nb_trainable_parameters()[0]


def test_without_an_adapter_every_weight_learns(shape):
    assert resources.trainable_parameters(shape, presets.full()) == shape.parameters


@pytest.mark.parametrize("name", ["fp32", "int8", "int4"])
def test_a_variant_is_as_large_as_its_files(onnx, merged, settings, name):
    data = (onnx / name / onnx_folder.EXTERNAL_DATA).stat().st_size  # all but small constants, which the graph holds
    estimate = resources.variant_bytes(facts.read_facts(merged), settings.variants[name].weights)
    assert data <= estimate <= onnx_folder.model_bytes(onnx / name)
    assert estimate == pytest.approx(data, rel=0.05)


@pytest.mark.parametrize(
    ("name", "method"), [("llama", "lora"), ("llama", "full"), ("gpt2", "full"), ("qwen3", "full")]
)
def test_activations_are_what_autograd_saves(tmp_path, name, method):
    small_architectures.random(name).save_pretrained(tmp_path)
    method = presets.lora() if method == "lora" else presets.full()
    model = loading.build_trainable(tmp_path, method, 7).train()
    row = {
        "input_ids": list(range(3, 67)),
        "labels": [-100] * 62 + [65, 66],
    }  # as many tokens as a pass is filled up to
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    saved = {}

    def keep(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor  # alive, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        if packing.is_supported(model):
            with packing.packed_attention(model):
                sequence_logprobs(model, [row], packed=True)
        else:
            sequence_logprobs(model, [row], packed=False)
    measured = sum(t.untyped_storage().nbytes() for place, t in saved.items() if place not in weights)
    shape = facts.read_facts(tmp_path)
    estimate = 4 * 64 * shape.layers * resources.activation_floats(shape, method, 64)
    assert measured == pytest.approx(estimate, rel=0.25)


def test_checkpoints_are_those_that_training_makes_room_for(base, shape):
    trainable = resources.trainable_parameters(shape, presets.full())
    assert resources.checkpoint_bytes(trainable) == 2 * 3 * 4 * trainable


@pytest.mark.parametrize(("kv_bits", "size"), [(32, 4), (8, 1)])
def test_a_cache_holds_keys_and_values_of_every_layer(kv_bits, size, shape):
    weights = QuantizationConfig(bits=8, block=32, kv_bits=kv_bits)
    assert resources.cache_bytes(shape, weights, 10) == 10 * 2 * 2 * 2 * 32 * size  # tokens, layers, both, heads, width


def test_more_learns_and_more_tokens_take_more(shape):
    small, large = (resources.Pass(tokens, 64, 1.0) for tokens in (256, 4096))
    lora, full, train = presets.lora(), presets.full(), presets.train()
    assert resources.train_memory(shape, lora, train, small) < resources.train_memory(shape, lora, train, large)
    assert resources.train_memory(shape, lora, train, small) < resources.train_memory(shape, full, train, small)
    checkpointed = presets.train(gradient_checkpointing="true")
    assert resources.train_memory(shape, lora, checkpointed, large) < resources.train_memory(shape, lora, train, large)


def test_training_is_six_operations_for_each_weight_and_token(shape):
    work = resources.train_flops(shape, presets.full(), presets.train(), tokens=10, labels=10)
    assert work == 6 * 10 * (shape.matrices + shape.vocabulary * shape.width)


def test_a_shortage_names_the_stage_and_both_sizes():
    needs = {"train": (9e9, 1e9), "merge": (12e9, 2e9)}
    assert resources.find_shortages(needs, memory=12 * 10**9, disk=3e9) == []
    assert resources.find_shortages(needs, memory=10**9, disk=2.9e9) == [
        "merge will need about 12.0 GB of memory, 1.0 GB are free",
        "the stages will write about 3.0 GB, 2.9 GB are free on the disk",
    ]
    assert resources.find_shortages(needs, memory=None, disk=3e9) == []


def test_a_base_that_is_too_large_is_said_in_one_line_and_one_that_fits_is_not(base, merged, monkeypatch, caplog):
    resources.warn_of_shortages(base)
    assert not caplog.messages
    monkeypatch.setattr(resources, "PROOF_LIBRARIES", 1e15)
    resources.warn_of_shortages(base)
    [line] = caplog.messages
    assert line.startswith("export_onnx will need about 1000000 GB of memory, ") and "refrain inspect" in line
