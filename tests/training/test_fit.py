import hashlib
import io
import logging
import math
import re
import resource
import shutil
import signal
import sys
from contextlib import contextmanager
from functools import partial

import presets
import pytest
import torch
from transformers import AutoModelForCausalLM, TrainerCallback

from refrain.chat.encoding import IGNORE_INDEX
from refrain.models.pytorch import loading
from refrain.training import checkpoints
from refrain.training import fit as training
from refrain.training.callbacks import checkpointing
from refrain.training.objectives import sft
from refrain.training.objectives.logprobs import sequence_logprobs

LORA, FULL = presets.lora(), presets.full()
DROPPING = presets.lora("method.adapter.dropout=0.2")


@pytest.fixture(scope="module")
def features(talk, rows):
    return sft.encode_rows(talk, rows)[0]


@pytest.fixture
def threads():
    """Sets the number of threads, until the test is over."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def fit(base, features, folder, held_out=(), method=FULL, seed=7, callbacks=(), objective=sft, **changes):
    """A trained model and its curves."""
    recipe = {"lr": 3e-3, "epochs": 3, "batch_size": 4, "warmup": 0.0, "schedule": "constant", **changes}
    folder.mkdir(exist_ok=True)
    model = loading.build_trainable(base, method, seed)
    done = training.train_model(model, features, list(held_out), objective, presets.train(**recipe), seed, folder,
                        callbacks=tuple(callbacks))  # fmt: skip
    return model, done


def digest(model):
    """One number for all weights, to the last bit."""
    return hashlib.md5(b"".join(weight.detach().numpy().tobytes() for weight in model.parameters())).hexdigest()


def distances(one, other, start):
    """The largest difference of a weight between two models, and how far one of them is from the start."""
    apart = max((a - b).abs().max().item() for a, b in zip(one.parameters(), other.parameters(), strict=True))
    moved = max((a - b).abs().max().item() for a, b in zip(one.parameters(), start.parameters(), strict=True))
    return apart, moved


class At(TrainerCallback):
    """Does something in the middle of a step."""

    def __init__(self, step, act):
        self.step, self.act = step, act

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        if state.global_step == self.step - 1:
            self.act()


def interrupt():
    signal.raise_signal(signal.SIGTERM)


def die():
    raise RuntimeError("the lights went out")


@pytest.mark.parametrize("method", [FULL, DROPPING], ids=["full", "lora"])
@pytest.mark.parametrize("packing", [True, False])
def test_the_same_training_gives_the_same_bytes_with_one_thread_and_with_two(
    base, features, tmp_path, threads, method, packing
):
    found = set()
    for name, count in (("one", 1), ("again", 1), ("two", 2)):
        threads(count)
        model, curves = fit(base, features, tmp_path / name, features[:3], method, epochs=1, packing=packing)
        found.add((digest(model), str(curves)))
    assert len(found) == 1


def test_another_seed_gives_other_bytes(base, features, tmp_path):
    one, two = (fit(base, features, tmp_path / str(seed), seed=seed, epochs=1)[0] for seed in (1, 2))
    assert digest(one) != digest(two)


@pytest.mark.parametrize("method", [FULL, LORA], ids=["full", "lora"])
def test_the_loss_falls(base, features, tmp_path, method):
    _, curves = fit(base, features, tmp_path, features[:4], method, lr=1e-2, epochs=5)
    assert curves.train[-1][1] < curves.train[0][1] - 0.3
    assert curves.val[-1][1] < curves.val[0][1] - 0.3


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


def test_the_validation_curve_begins_with_the_untrained_model(base, features, tmp_path):
    held_out = features[:3]
    _, plain = fit(base, held_out, tmp_path / "plain", batch_size=3, epochs=1)
    _, curves = fit(base, features, tmp_path / "long", held_out, epochs=2)
    assert [step for step, _ in curves.val] == [0, 4, 8]
    assert curves.val[0][1] == pytest.approx(plain.train[0][1], abs=1e-5)


def test_without_held_out_rows_there_is_no_validation_curve(base, features, tmp_path):
    _, curves = fit(base, features, tmp_path, epochs=1)
    assert curves.val == []
    assert training.training_report(curves, features, sft)["val_loss"] == {"before": None, "after": None}


@pytest.mark.parametrize("epochs, steps", [(0.25, 1), (0.5, 2), (1, 4), (1.5, 6), (3, 12)])
def test_epochs_may_be_parts_of_one(base, features, tmp_path, epochs, steps):
    _, curves = fit(base, features, tmp_path, features[:2], epochs=epochs)
    assert [step for step, _ in curves.train] == list(range(1, steps + 1))
    assert curves.val[-1][0] == steps


@pytest.mark.parametrize("schedule, shape", [
    ("linear", lambda t: 1 - t), ("cosine", lambda t: (1 + math.cos(math.pi * t)) / 2), ("constant", lambda t: 1),
    ("wsd", lambda t: min(1, (1 - math.cos(math.pi * (1 - t) / 0.5)) / 2 if t > 0.5 else 1)),
])  # fmt: skip
def test_the_learning_rate_follows_its_schedule(base, features, tmp_path, schedule, shape):
    _, curves = fit(base, features[:4], tmp_path, batch_size=1, epochs=2, lr=1e-3, schedule=schedule, decay=0.5)
    assert [rate for _, rate in curves.lr] == pytest.approx([1e-3 * shape(step / 8) for step in range(8)], abs=2e-6)


def test_warmup_rises_to_the_full_rate(base, features, tmp_path):
    _, curves = fit(base, features, tmp_path, batch_size=4, epochs=2, lr=1e-3, schedule="wsd", warmup=0.5, decay=0.5)
    assert [rate for _, rate in curves.lr][:5] == pytest.approx([0, 0.25e-3, 0.5e-3, 0.75e-3, 1e-3])


def test_facts_count_what_was_learned():
    rows = [
        {"input_ids": [1, 2, 3], "labels": [IGNORE_INDEX, 2, 3]},
        {"input_ids": [4, 5], "labels": [IGNORE_INDEX, 5]},
    ]
    curves = training.LossCurves(train=[(5, 1.0)], val=[(0, 3.0), (2, 1.5), (4, 2.0)], lr=[], kept_step=2)
    assert training.training_report(curves, rows, sft) == {
        "rows": 2,
        "steps": 1,
        "kept": 2,
        "tokens": 5,
        "supervised_tokens": 3,
        "val_loss": {"before": 3.0, "after": 1.5},
    }


# Interrupted


@pytest.fixture
def eager(monkeypatch):
    """A checkpoint at each step that may have one."""
    monkeypatch.setenv(checkpointing.INTERVAL_VARIABLE, "0")
    monkeypatch.setattr(checkpointing, "COST_FACTOR", 0)


@pytest.mark.parametrize("method", [FULL, DROPPING], ids=["full", "lora"])
@pytest.mark.parametrize("step", range(1, 9))
def test_a_killed_training_ends_in_the_bytes_of_one_never_killed(base, features, tmp_path, eager, method, step):
    settings = {"held_out": features[:3], "method": method, "epochs": 2, "schedule": "cosine"}
    undisturbed, curves = fit(base, features, tmp_path / "undisturbed", **settings)
    with pytest.raises(RuntimeError, match="lights"):
        fit(base, features, tmp_path / "killed", callbacks=[At(step, die)], **settings)
    resumed, again = fit(base, features, tmp_path / "killed", **settings)
    assert (digest(resumed), again) == (digest(undisturbed), curves)


@pytest.mark.parametrize("step", range(1, 8))
def test_a_signal_ends_a_training_after_its_step_and_the_next_goes_on_from_there(
    base, features, tmp_path, step, caplog
):
    settings = {"held_out": features[:3], "epochs": 2}
    undisturbed, curves = fit(base, features, tmp_path / "undisturbed", **settings)
    with pytest.raises(
        KeyboardInterrupt, match=rf"^stopped at step {step} \(SIGTERM\); the next run goes on from there$"
    ):
        fit(base, features, tmp_path / "stopped", callbacks=[At(step, interrupt)], **settings)
    assert checkpoints.latest_checkpoint(tmp_path / "stopped").name == f"checkpoint-{step}"
    caplog.set_level(logging.INFO, "refrain")
    resumed, again = fit(base, features, tmp_path / "stopped", **settings)
    assert f"going on from step {step}" in caplog.text
    assert (digest(resumed), again) == (digest(undisturbed), curves)


def test_a_signal_in_the_last_step_changes_nothing(base, features, tmp_path):
    _, curves = fit(base, features, tmp_path, epochs=1, callbacks=[At(4, interrupt)])
    assert len(curves.train) == 4
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_second_signal_ends_a_training_at_once(base, features, tmp_path):
    twice = [At(2, interrupt), At(2, interrupt)]
    with pytest.raises(KeyboardInterrupt, match=r"^SIGTERM twice$"):
        fit(base, features, tmp_path, callbacks=twice)
    assert checkpoints.latest_checkpoint(tmp_path) is None


@pytest.mark.parametrize("step", [3, 4, 6])
def test_damaged_checkpoints_do_not_count(base, features, tmp_path, eager, step):
    settings = {"epochs": 2, "method": LORA}
    undisturbed, curves = fit(base, features, tmp_path / "undisturbed", **settings)
    with pytest.raises(RuntimeError):
        fit(base, features, tmp_path / "killed", callbacks=[At(step, die)], **settings)
    newest = checkpoints.latest_checkpoint(tmp_path / "killed")
    state = newest / "optimizer.pt"
    state.write_bytes(state.read_bytes()[:-7])
    assert checkpoints.latest_checkpoint(tmp_path / "killed") is None
    resumed, again = fit(base, features, tmp_path / "killed", **settings)
    assert (digest(resumed), again) == (digest(undisturbed), curves)


def test_one_checkpoint_is_kept(base, features, tmp_path, eager):
    seen = []
    with pytest.raises(RuntimeError):
        callbacks = [At(step, lambda: seen.append(len(checkpoints.list_checkpoints(tmp_path)))) for step in range(3, 7)]
        fit(base, features, tmp_path, callbacks=[*callbacks, At(7, die)])
    assert set(seen) == {1}


def test_too_small_a_disk_is_said_before_the_first_step(base, features, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=1000))
    with pytest.raises(OSError, match=r"checkpoints need [\d.]+ GB and 0\.00 GB are free; .*`refrain clean`"):
        fit(base, features, tmp_path)


@pytest.fixture
def small_files():
    """While it is entered no file can grow beyond so many bytes, as on a full disk."""

    @contextmanager
    def limit(size):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


@pytest.mark.parametrize("size", [0, 1000, 100_000, 500_000], ids=["nothing", "little", "half", "the optimiser not"])
def test_a_disk_that_is_full_in_the_middle_loses_one_checkpoint(base, features, tmp_path, small_files, size):
    settings = {"held_out": features[:3], "epochs": 2}
    undisturbed, curves = fit(base, features, tmp_path / "undisturbed", **settings)
    with pytest.raises(KeyboardInterrupt):
        fit(base, features, tmp_path / "cut", callbacks=[At(2, interrupt)], **settings)
    full = r"the checkpoint of step 5 could not be written \(.*\); make room, and the next run goes on"
    with small_files(size), pytest.raises(OSError, match=full):
        fit(base, features, tmp_path / "cut", callbacks=[At(5, interrupt)], **settings)
    assert checkpoints.latest_checkpoint(tmp_path / "cut").name == "checkpoint-2"
    resumed, again = fit(base, features, tmp_path / "cut", **settings)
    assert (digest(resumed), again) == (digest(undisturbed), curves)


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


@pytest.mark.parametrize("method", [FULL, DROPPING], ids=["full", "lora"])
def test_out_of_memory_the_step_is_made_again_in_smaller_passes(base, features, tmp_path, caplog, method):
    changes = {"method": method, "epochs": 1, "batch_size": 8, "packing": True}
    roomy, _ = fit(base, features, tmp_path / "roomy", micro_batch_tokens=128, **changes)
    cramped, _ = fit(base, features, tmp_path / "cramped", micro_batch_tokens=512, objective=Cramped(130), **changes)
    assert digest(cramped) == digest(roomy)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"out of memory: the same batch goes on in forward passes of {tokens} tokens" for tokens in (256, 128)
    ]


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


def test_patience_ends_a_training_and_keeps_the_best_weights(base, features, tmp_path):
    """Learned by heart from four rows, at a rate that soon does harm to the others."""
    settings = {"held_out": features[8:], "lr": 1e-2, "batch_size": 2}
    _, long = fit(base, features[:4], tmp_path / "long", epochs=12, **settings)
    losses = [loss for _, loss in long.val]
    best = losses.index(min(losses))
    assert 0 < best < 8, "otherwise this test shows nothing"
    patient, curves = fit(base, features[:4], tmp_path / "patient", epochs=12, patience=2, **settings)
    assert [loss for _, loss in curves.val] == losses[: best + 3]
    loss = loss_of(patient, features[8:])
    assert loss == pytest.approx(losses[best], abs=1e-5)
    with pytest.raises(KeyboardInterrupt):
        stop = [At(2 * best + 1, interrupt)]
        fit(base, features[:4], tmp_path / "stopped", epochs=12, patience=2, callbacks=stop, **settings)
    resumed, again = fit(base, features[:4], tmp_path / "stopped", epochs=12, patience=2, **settings)
    assert (digest(resumed), again) == (digest(patient), curves)
    assert training.training_report(curves, features, sft)["val_loss"]["after"] == losses[best]


def loss_of(model, rows):
    """The loss of a model on rows, by the rules of the objective."""
    with torch.no_grad():
        return (
            sft.loss(partial(sequence_logprobs, model.eval(), packed=False), rows, None) / sft.normaliser(rows)
        ).item()


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_precision_and_recomputed_activations_change_little(base, features, tmp_path, precision):
    _, plain = fit(base, features, tmp_path / "plain", epochs=1)
    settings = {"epochs": 1, "precision": precision, "gradient_checkpointing": True}
    model, other = fit(base, features, tmp_path / "other", **settings)
    close = 1e-5 if precision == "fp32" else 0.05
    assert [loss for _, loss in other.train] == pytest.approx([loss for _, loss in plain.train], abs=close)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert plain.train != other.train or precision == "fp32"


def test_a_training_reports_to_nobody_and_leaves_nothing_behind(base, features, tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.integrations.get_available_reporting_integrations", lambda: ["dvclive"])
    monkeypatch.chdir(tmp_path)
    fit(base, features[:4], tmp_path / "own", features[:4], epochs=1)
    assert list(tmp_path.rglob("*")) == [tmp_path / "own"]
    assert (
        training.build_training_arguments(presets.train(), 0, tmp_path, 1, validate=True, resumed=False).report_to == []
    )


@pytest.mark.parametrize("steps", [1, 4, 19, 120])
def test_away_from_a_terminal_progress_is_a_dozen_lines(base, features, tmp_path, caplog, capfd, steps):
    caplog.set_level(logging.INFO, "refrain")
    fit(base, features[:1] * steps, tmp_path, batch_size=1, epochs=1)
    lines = [record.getMessage() for record in caplog.records]
    assert 2 <= len(lines) <= 12 and lines[-2].startswith(f"{steps} steps, loss ")
    parts = ["forward", "backward", "optimiser", "idle"]
    assert re.fullmatch(r"[\d.]+ s: " + ", ".join(rf"{part} \d+%" for part in parts), lines[-1])
    assert len(set(lines)) == len(lines) and not any("nan" in line for line in lines)
    assert capfd.readouterr() == ("", "")


def test_a_quiet_training_says_nothing(base, features, tmp_path, caplog, capfd):
    caplog.set_level(logging.WARNING, "refrain")
    fit(base, features[:4], tmp_path, features[:4], epochs=2)
    assert not caplog.records and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
def test_on_a_terminal_progress_is_a_bar_unless_all_is_quiet(base, features, tmp_path, caplog, monkeypatch, level):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    caplog.set_level(level, "refrain")
    fit(base, features, tmp_path, batch_size=1, epochs=1)
    if level == logging.INFO:
        assert re.search(r"/16 .*loss \d+\.\d{3}, lr \d\.\de-\d\d, [\d,]+ tokens/s", terminal.getvalue())
        assert len(caplog.records) == 2, "the last numbers stay"
    else:
        assert terminal.getvalue() == "" and not caplog.records
