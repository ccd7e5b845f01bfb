import pytest
import torch
from short_trainings import DROPPING, FULL, LORA, At, digest, fit, interrupt
from transformers import AutoModelForCausalLM

from refrain.chat.encoding import IGNORE_INDEX
from refrain.models.pytorch import loading
from refrain.training.objectives import sft


def distances(one, other, start):
    """The largest difference of a weight between two models, and how far one of them is from the start."""
    apart = max((a - b).abs().max().item() for a, b in zip(one.parameters(), other.parameters(), strict=True))
    moved = max((a - b).abs().max().item() for a, b in zip(one.parameters(), start.parameters(), strict=True))
    return apart, moved


@pytest.mark.heavy
@pytest.mark.parametrize("method", [FULL, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("packing", [True, False])
def test_a_step_is_the_same_in_one_forward_pass_and_in_many(base, features, tmp_path, method, packing):
    changes = {"method": method, "lr": 1e-3, "epochs": 2, "batch_size": 8}
    large, whole = fit(base, features, tmp_path / "large", micro_batch_tokens=4096, packing=True, **changes)
    small, parts = fit(base, features, tmp_path / "small", micro_batch_tokens=20, packing=packing, **changes)
    assert [loss for _, loss in parts.train] == pytest.approx([loss for _, loss in whole.train], abs=1e-5)
    apart, moved = distances(large, small, loading.build_trainable(base, method, 7))
    assert apart < 1e-4 < 1e-3 < moved


def test_the_loss_of_a_step_is_the_mean_over_its_supervised_tokens(base, features, tmp_path):
    """Not the mean of the means of rows: a short answer weighs less than a long one."""
    _, curves = fit(base, features, tmp_path, batch_size=16, epochs=1)
    model = AutoModelForCausalLM.from_pretrained(base)
    total = count = 0
    for row in features:
        labels = torch.tensor([row["labels"]])
        learned = (labels[:, 1:] != IGNORE_INDEX).sum().item()
        with torch.no_grad():
            total += learned * model(input_ids=torch.tensor([row["input_ids"]]), labels=labels).loss.item()
        count += learned
    assert curves.train[0][1] == pytest.approx(total / count, abs=1e-5)


# Memory, patience, what is shown
class Cramped:
    """Supervised fine-tuning on a machine whose memory is gone above so many tokens."""

    def __init__(self, tokens):
        self.limit = tokens

    def __getattr__(self, name):
        return getattr(sft, name)

    def loss(self, ask, rows, context):
        value = sft.loss(ask, rows, context)
        if sum(map(sft.token_count, rows)) > self.limit:
            torch.empty(2**60, dtype=torch.uint8)
        return value


@pytest.mark.heavy
@pytest.mark.parametrize("method", [FULL, DROPPING], ids=["full", "lora"])
def test_out_of_memory_the_step_is_made_again_in_smaller_passes(base, features, tmp_path, caplog, method):
    changes = {"method": method, "epochs": 1, "batch_size": 8, "packing": True}
    roomy, _ = fit(base, features, tmp_path / "roomy", micro_batch_tokens=128, **changes)
    cramped, _ = fit(base, features, tmp_path / "cramped", micro_batch_tokens=512, objective=Cramped(130), **changes)
    assert digest(cramped) == digest(roomy)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"out of memory: the same batch goes on in forward passes of {tokens} tokens" for tokens in (256, 128)
    ]


@pytest.mark.heavy
def test_what_was_learned_of_the_memory_outlives_a_kill(base, features, tmp_path, caplog):
    changes = {"epochs": 1, "batch_size": 4, "packing": True, "micro_batch_tokens": 512}
    whole, _ = fit(base, features, tmp_path / "whole", objective=Cramped(90), **changes)
    with pytest.raises(KeyboardInterrupt):
        fit(base, features, tmp_path / "cut", objective=Cramped(90), callbacks=[At(2, interrupt)], **changes)
    caplog.clear()
    resumed, _ = fit(base, features, tmp_path / "cut", objective=Cramped(90), **changes)
    assert digest(resumed) == digest(whole) and "out of memory" not in caplog.text


def test_a_row_that_fits_in_no_memory_ends_the_run_in_a_sentence(base, features, tmp_path):
    with pytest.raises(ValueError, match=r"^a row of \d+ tokens does not fit into memory; .*data\.max_tokens"):
        fit(base, features, tmp_path, objective=Cramped(1))


@pytest.mark.heavy
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_precision_and_recomputed_activations_change_little(base, features, tmp_path, precision):
    _, plain = fit(base, features, tmp_path / "plain", epochs=1)
    settings = {"epochs": 1, "precision": precision, "gradient_checkpointing": True}
    model, other = fit(base, features, tmp_path / "other", **settings)
    close = 1e-5 if precision == "fp32" else 0.05
    assert [loss for _, loss in other.train] == pytest.approx([loss for _, loss in plain.train], abs=close)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert plain.train != other.train or precision == "fp32"
