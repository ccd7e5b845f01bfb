"""A training gives the same bytes with any number of threads, and what computes so is what PyTorch computes."""

from functools import partial

import presets
import pytest
import torch
from short_trainings import FULL, LORA, digest
from torch import nn
from transformers import AutoModelForCausalLM, Gemma3TextConfig, GPT2Config, LlamaConfig
from transformers.activations import ACT2FN

from refrain.models.pytorch import lora
from refrain.training import fit
from refrain.training.cpu.thread_invariance import activate, thread_invariant_layers
from refrain.training.objectives import sft

SIZES = {"vocab_size": 64, "hidden_size": 64, "intermediate_size": 512, "num_hidden_layers": 1}
SHAPES = {
    "silu": LlamaConfig(**SIZES, num_attention_heads=4, num_key_value_heads=2),
    "layer norms": GPT2Config(vocab_size=64, n_embd=64, n_layer=1, n_head=4, n_positions=512, attn_pdrop=0.0),
    "one head of keys": Gemma3TextConfig(
        **SIZES, num_attention_heads=4, num_key_value_heads=1, head_dim=256, layer_types=["full_attention"]
    ),
}
LENGTHS = (41, 90, 200, 352)  # each is alone in its stack


@pytest.fixture
def threads():
    """Sets the number of threads, until the test is over."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("method", [LORA, FULL], ids=["lora", "full"])
def test_steps_give_the_same_bytes_with_any_number_of_threads(name, method, tmp_path, threads):
    ids = torch.randint(64, (sum(LENGTHS),), generator=torch.Generator().manual_seed(1)).split(LENGTHS)
    rows = [{"input_ids": part.tolist(), "labels": part.tolist()} for part in ids]
    train = presets.train(lr=3e-3, epochs=2, batch_size=4, warmup=0.0, schedule="constant")
    found = set()
    for count in (1, 2, 3, 5):
        threads(count)
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(SHAPES[name])
        model = model if method.adapter is None else lora.attach_adapter(model, method.adapter, None)
        fit.train_model(model, rows, [], sft, train, 7, tmp_path / str(count))
        found.add(digest(model))
    assert len(found) == 1


def test_what_many_rows_learn_after_one_token_is_summed_in_one_order(tmp_path, threads):
    """With several threads, the gradients of a token that they share would come as each of them gets there."""
    begin = torch.randint(64, (120,), generator=torch.Generator().manual_seed(1)).tolist()
    rows = [{"input_ids": [*begin, last], "labels": [*begin, last]} for last in range(48)]
    train = presets.train(lr=3e-3, epochs=3, batch_size=48, warmup=0.0, schedule="constant")
    found = set()
    for number, count in enumerate((1, 2, 2, 3)):
        threads(count)
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(SHAPES["silu"])
        fit.train_model(model, rows, [], sft, train, 7, tmp_path / str(number))
        found.add(digest(model))
    assert len(found) == 1
    assert not torch.are_deterministic_algorithms_enabled(), "afterwards it is as it was"


@pytest.mark.parametrize("name", ["silu", "gelu_pytorch_tanh", "mish"])
@pytest.mark.parametrize("shape", [(1, 679, 512), (1, 301, 333), (55, 301), (0, 4), ()])
def test_an_activation_rounds_alike_in_any_parts(name, shape, threads):
    inputs = torch.randn((2, *shape), generator=torch.Generator().manual_seed(0))[0].requires_grad_()
    results = []
    for count in (1, 2, 3, 5, 12):
        threads(count)
        outputs = activate(ACT2FN[name], inputs)
        results.append((outputs, *torch.autograd.grad(outputs.sum(), inputs)))
    assert all(torch.equal(*pair) for other in results[1:] for pair in zip(results[0], other, strict=True))
    torch.testing.assert_close(results[0][0], ACT2FN[name](inputs))


@pytest.mark.parametrize("make", [nn.LayerNorm, partial(nn.LayerNorm, bias=False)], ids=["bias", "no bias"])
@pytest.mark.parametrize("shape", [7, (3, 7)])
def test_layer_norms_and_their_gradients_are_those_of_pytorch(make, shape):
    torch.manual_seed(0)
    layer, inputs = make(shape), torch.randn(2, 5, 3, 7, requires_grad=True)
    for weight in layer.parameters():
        nn.init.normal_(weight)
    wanted = [inputs, *layer.parameters()]
    expected = torch.autograd.grad(layer(inputs).square().sum(), wanted)
    with thread_invariant_layers(nn.Sequential(layer)):
        result = layer(inputs)
    assert "LayerNormBackward" in type(result.grad_fn).__name__ and "Native" not in type(result.grad_fn).__name__
    assert "Native" in type(layer(inputs).grad_fn).__name__
    for one, other in zip(expected, torch.autograd.grad(result.square().sum(), wanted), strict=True):
        torch.testing.assert_close(one, other)
