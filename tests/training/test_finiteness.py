"""A training that goes wrong ends at that step, in one sentence, and leaves nothing that is wrong."""

import os

import pytest
import torch
from preference_pairs import ROWS, objective
from safetensors.torch import load_file
from short_trainings import FULL, LORA, digest, fit

from refrain.models.pytorch import loading
from refrain.training import checkpoints, finiteness
from refrain.training.objectives import sft


class Overflow:
    """Supervised fine-tuning that overflows after so many steps: in its loss, in the gradient or where it validates."""

    def __init__(self, steps, where="loss", value=float("inf")):
        self.steps, self.where, self.value = steps, where, value

    def __getattr__(self, name):
        return getattr(sft, name)

    def loss(self, ask, rows, context):
        loss = sft.loss(ask, rows, context)
        self.steps -= loss.requires_grad
        if self.where == "validation" and not loss.requires_grad and self.steps == 0:
            return loss * self.value
        if self.where == "gradient" and loss.requires_grad and self.steps < 0:
            loss.register_hook(lambda gradient: gradient * self.value)
        return loss * self.value if self.where == "loss" and self.steps < 0 else loss


def spoil(model, name, value=float("nan")):
    with torch.no_grad():
        model.get_parameter(name).view(-1)[3] = value


@pytest.mark.parametrize("method", [FULL, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("packing", [True, False])
def test_a_rate_that_is_too_high_ends_the_training_at_the_next_step(base, features, tmp_path, method, packing):
    said = r"^the loss is (nan|inf) after step 1: the training has diverged; lower train.lr=1e\+20$"
    with pytest.raises(ValueError, match=said):
        fit(base, features, tmp_path, method=method, lr=1e20, packing=packing)


@pytest.mark.parametrize("loss", ["sigmoid", "ipo", "kto", "orpo"])
def test_every_objective_ends_there(base, talk, tmp_path, loss):
    rows = objective(loss).encode_rows(talk, ROWS)[0]
    with pytest.raises(ValueError, match=r"(loss|log-probability of the rows) is -?(nan|inf) after step 1: .*train.lr"):
        fit(base, rows, tmp_path, method=LORA, objective=objective(loss), lr=1e20, epochs=4)


def test_a_validation_that_is_not_finite_ends_it_too(base, features, tmp_path):
    with pytest.raises(ValueError, match=r"^the validation loss is inf after step 1: .* lower train.lr=0.003"):
        fit(base, features[:4], tmp_path, features[:2], objective=Overflow(1, "validation"))


def test_so_do_weights_that_no_loss_has_seen(base, features, tmp_path):
    with pytest.raises(
        ValueError, match=r"^after step 1 model.* has values that are not finite; lower train.lr=4e\+38"
    ):
        fit(base, features[:4], tmp_path, lr=4e38, epochs=1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3e38], ids=["nan", "infinite", "too large to add up"])
def test_a_gradient_that_is_not_finite_ends_the_training(base, features, tmp_path, value):
    """The last one is clipped to nothing: finite weights, of which none moves."""
    with pytest.raises(
        ValueError, match=r"^the norm of the gradient is (nan|inf) after step 3: .*lower train.lr=0.003$"
    ):
        fit(base, features, tmp_path, objective=Overflow(2, "gradient", value), epochs=2, micro_batch_tokens=4096)


def test_the_step_before_is_kept_and_nothing_that_is_not_finite(base, features, tmp_path, eager):
    with pytest.raises(ValueError, match="the loss is inf after step 2: "):
        fit(base, features, tmp_path, method=LORA, objective=Overflow(2), micro_batch_tokens=4096)
    checkpoint = checkpoints.latest_checkpoint(tmp_path)
    assert checkpoint.name == "checkpoint-2" and checkpoints.list_checkpoints(tmp_path) == [checkpoint]
    assert all(weight.isfinite().all() for weight in load_file(checkpoint / "adapter_model.safetensors").values())


def test_weights_that_are_not_finite_are_in_no_checkpoint(base, features, tmp_path, eager):
    with pytest.raises(ValueError, match=r"^after step 1 .* has values that are not finite; lower train.lr"):
        fit(base, features, tmp_path, lr=4e38)
    assert checkpoints.list_checkpoints(tmp_path) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")], ids=str)
@pytest.mark.parametrize("method", [FULL, LORA], ids=["full", "lora"])
def test_a_base_that_is_not_finite_is_named_before_the_first_step(base, features, tmp_path, method, value, monkeypatch):
    load = loading.load_pretrained

    def load_spoilt(folder, **settings):
        model = load(folder, **settings)
        spoil(model, "model.layers.1.mlp.up_proj.weight", value)
        return model

    monkeypatch.setattr(loading, "load_pretrained", load_spoilt)
    said = "^the model to begin with has values that are not finite in model.layers.1.mlp.up_proj.weight, so nothing"
    with pytest.raises(ValueError, match=said):
        fit(base, features, tmp_path, features[:2], method)


def test_activations_that_overflow_are_no_matter_of_the_rate(base, features, tmp_path):
    with pytest.raises(
        ValueError, match=r"is inf before anything was learned, .* activations overflow; choose another"
    ):
        fit(base, features, tmp_path, objective=Overflow(0))
    said = r"choose another base, or set train.precision=fp32 in place of bf16$"
    with pytest.raises(ValueError, match=said):
        fit(base, features, tmp_path, objective=Overflow(0), precision="bf16")


def test_integers_and_nothing_are_finite():
    weights = {"four bits": torch.zeros(3, dtype=torch.uint8), "none": torch.zeros(0), "half": torch.ones(2).half()}
    assert finiteness.find_nonfinite(weights) == []
    assert finiteness.find_nonfinite(weights | {"two": torch.tensor([1.0, float("inf")])}) == ["two"]


def test_the_only_step_learns_at_the_full_rate(base, features, tmp_path):
    for schedule in ("linear", "cosine", "constant_with_warmup", "wsd"):
        model, curves = fit(base, features[:4], tmp_path / schedule, epochs=1, lr=1e-3, warmup=0.05, schedule=schedule)
        assert curves.lr == [(1, 1e-3)]
        assert digest(model) != digest(loading.load_pretrained(base))


def test_the_environment_sets_no_precision(base, features, tmp_path, undisturbed, monkeypatch):
    expected, _ = undisturbed()
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "3")
    before = dict(os.environ)
    assert digest(fit(base, features, tmp_path)[0]) == expected
    assert dict(os.environ) == before


def test_a_training_leaves_no_precision_to_the_next(base, features, tmp_path, undisturbed, monkeypatch):
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    lower = digest(fit(base, features, tmp_path / "lower", precision="bf16")[0])
    assert "ACCELERATE_MIXED_PRECISION" not in os.environ
    assert lower != digest(fit(base, features, tmp_path / "plain")[0]) == undisturbed()[0]


def test_patience_needs_rows_to_validate_with(base, features, tmp_path):
    with pytest.raises(ValueError, match=r"^train.patience=2 needs a validation loss"):
        fit(base, features, tmp_path, patience=2)
