"""Gradients of single rows: those of autograd, one row at a time, and those of small steps."""

from functools import partial

import adapted_models
import pytest
import torch

from refrain.models.influence import gradients, traced_model
from refrain.models.pytorch import loading
from refrain.training.objectives import logprobs, sft

KINDS = {name: adapted_models.METHODS[name] for name in ("full", "lora", "dora", "rslora", "some layers")}


@pytest.fixture(scope="module", params=KINDS)
def traced(request, base):
    """A model of each kind that has learned something: at first all of B is zero, and so are the gradients by A."""
    model = loading.build_trainable(base, KINDS[request.param], seed=3)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    return traced_model.trace_model(model)


def ask(traced):
    return partial(logprobs.sequence_logprobs, traced.model, packed=False)


def test_each_row_of_a_pass_has_the_gradient_that_autograd_gives_it_alone(traced, talk, rows):
    texts, _ = sft.encode_rows(talk, rows[:5])
    found = list(gradients.layer_gradients(traced, lambda asked: sft.loss(asked, texts, None), is_one_row=False))
    weights = [traced_model.weight_of(layer) for layer in traced.layers.values()]
    assert [part.shape for part in found] == [(5, size) for size in traced.sizes]
    for number, text in enumerate(texts):
        alone = torch.autograd.grad(sft.loss(ask(traced), [text], None), weights)
        for part, expected in zip(found, alone, strict=True):
            torch.testing.assert_close(part[number], expected.flatten(), rtol=1e-3, atol=1e-5)
    assert sum(part.abs().sum() for part in found) > 0.1


def test_a_small_step_along_a_gradient_changes_the_loss_as_the_gradient_says(traced, talk, rows):
    texts, _ = sft.encode_rows(talk, rows[:2])
    parts = list(gradients.layer_gradients(traced, lambda asked: sft.loss(asked, texts, None), is_one_row=False))
    dot = sum(float(part[0] @ part[1]) for part in parts)
    norms = [sum(float(part[row] @ part[row]) for part in parts) ** 0.5 for row in (0, 1)]
    step, losses = 0.02 / norms[1], []
    for sign in (1, -1):
        move(traced, parts, sign * step)
        with torch.no_grad():
            losses.append(float(sft.loss(ask(traced), texts[:1], None)))
        move(traced, parts, -sign * step)
    assert abs(dot) > 0.02 * norms[0] * norms[1]
    assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(dot, abs=0.005 * norms[0] * norms[1])


def move(traced, parts, step):
    with torch.no_grad():
        for layer, part in zip(traced.layers.values(), parts, strict=True):
            weight = traced_model.weight_of(layer)
            weight += step * part[1].reshape(weight.shape)


def test_of_full_weights_the_last_block_is_traced_and_of_an_adapter_its_matrices(base):
    full = traced_model.trace_model(loading.build_trainable(base, KINDS["full"], seed=3))
    assert {name.rpartition(".layers.")[2].split(".")[0] for name in full.layers} == {"1"}
    assert full.place == "of the last block"
    adapted = traced_model.trace_model(loading.build_trainable(base, KINDS["some layers"], seed=3))
    assert all("q_proj.lora_" in name or "up_proj.lora_" in name for name in adapted.layers)
    assert len(adapted.layers) == 8 and adapted.place == "of the adapter"


def test_an_adapter_on_tables_alone_is_refused(base):
    method = adapted_models.adapted(layers=["embed_tokens"])
    with pytest.raises(ValueError, match="no linear layer to trace rows through"):
        traced_model.trace_model(loading.build_trainable(base, method, seed=3))
