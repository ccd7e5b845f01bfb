import math
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import presets
import pytest
import torch
from places import ROOT
from short_trainings import DROPPING, FULL, LORA, digest, fit

from refrain.chat.encoding import IGNORE_INDEX
from refrain.training import fit as training
from refrain.training.objectives import sft


@pytest.fixture
def threads():
    """Sets the number of threads, until the test is over."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("person, spins", [
    ({}, r"GOMP_SPINCOUNT = '1000'|KMP_BLOCKTIME='1(ms)?\s"),
    ({"GOMP_SPINCOUNT": "7", "KMP_BLOCKTIME": "7"}, r"GOMP_SPINCOUNT = '7'|KMP_BLOCKTIME='7(ms)?\s"),
    ({"OMP_WAIT_POLICY": "active"}, r"GOMP_SPINCOUNT = '30000000000'|KMP_BLOCKTIME='(2147483|infinite)"),
])  # fmt: skip
def test_openmp_threads_spin_for_a_moment_unless_a_person_says_otherwise(person, spins):
    """Asked of the very library that PyTorch computes with: of GNU, or elsewhere of LLVM."""
    library = next((Path(find_spec("torch").origin).parent / "lib").glob("lib*omp*"))
    code = f"import refrain, ctypes; ctypes.CDLL({str(library)!r})"
    names = ("GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_WAIT_POLICY")
    plain = {name: value for name, value in os.environ.items() if name not in names}
    settings = {**plain, "PYTHONPATH": str(ROOT), "OMP_DISPLAY_ENV": "verbose", **person}
    told = subprocess.run([sys.executable, "-c", code], env=settings, capture_output=True, text=True, check=True)
    assert re.search(spins, told.stderr), told.stderr


@pytest.mark.heavy
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


@pytest.mark.parametrize("val, patience, kept, said", [
    ([], None, 4, "kept: the weights of the last step, 4"),
    ([3.0, 2.0, 1.0], None, 4, "kept: the weights of the last step, 4, where the validation loss is lowest, 1.000"),
    ([3.0, 1.0, 1.5], None, 4, "kept: the weights of the last step, 4, as train.patience is null; the validation loss "
     "is 1.500, and was 1.000 at step 2: docs/training.md says when that matters"),
    ([3.0, 1.0, 1.5], 1, 2, "kept: the weights of step 2, where the validation loss is lowest, 1.000; now it is 1.500"),
    ([1.0, 2.0, 3.0], 2, 0, "kept: those before the first step; the validation loss rose from 1.000 to 3.000: "
     "lower train.lr"),
    ([1.0, 2.0, 3.0], None, 4, "kept: those of the last step, 4; the validation loss rose from 1.000 to 3.000: "
     "lower train.lr"),
])  # fmt: skip
def test_a_training_says_which_weights_it_has_kept_and_why(val, patience, kept, said):
    train = [(step, 1.0) for step in range(1, 5)]
    curves = training.LossCurves(train, list(zip((0, 2, 4), val, strict=False)), [], kept)
    assert training.describe_kept_weights(curves, patience) == said


@pytest.mark.heavy
def test_another_seed_gives_other_bytes(base, features, tmp_path):
    one, two = (fit(base, features, tmp_path / str(seed), seed=seed, epochs=1)[0] for seed in (1, 2))
    assert digest(one) != digest(two)


@pytest.mark.heavy
@pytest.mark.parametrize("method", [FULL, LORA], ids=["full", "lora"])
def test_the_loss_falls(base, features, tmp_path, method):
    _, curves = fit(base, features, tmp_path, features[:4], method, lr=1e-2, epochs=5)
    assert curves.train[-1][1] < curves.train[0][1] - 0.3
    assert curves.val[-1][1] < curves.val[0][1] - 0.3


@pytest.mark.heavy
def test_the_validation_curve_begins_with_the_untrained_model(base, features, tmp_path):
    held_out = features[:3]
    _, plain = fit(base, held_out, tmp_path / "plain", batch_size=3, epochs=1)
    _, curves = fit(base, features, tmp_path / "long", held_out, epochs=2)
    assert [step for step, _ in curves.val] == [0, 4, 8]
    assert curves.val[0][1] == pytest.approx(plain.train[0][1], abs=1e-5)


def test_without_held_out_rows_there_is_no_validation_curve(base, features, tmp_path):
    _, curves = fit(base, features, tmp_path, epochs=1)
    assert curves.val == []
    assert training.training_report(curves, features, sft, {}, {})["val_loss"] == {"before": None, "after": None}


@pytest.mark.heavy
@pytest.mark.parametrize("epochs, steps", [(0.25, 1), (0.5, 2), (1, 4), (1.5, 6), (3, 12)])
def test_epochs_may_be_parts_of_one(base, features, tmp_path, epochs, steps):
    _, curves = fit(base, features, tmp_path, features[:2], epochs=epochs)
    assert [step for step, _ in curves.train] == list(range(1, steps + 1))
    assert curves.val[-1][0] == steps


@pytest.mark.heavy
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
    assert training.training_report(curves, rows, sft, {"unpaired": ["7"]}, {"train": {}}) == {
        "rows": 2,
        "steps": 1,
        "kept": 2,
        "tokens": 5,
        "supervised_tokens": 3,
        "val_loss": {"before": 3.0, "after": 1.5},
        "unpaired": 1,
        "audit": {"train": {}},
    }


def test_a_training_reports_to_nobody_and_leaves_nothing_behind(base, features, tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.integrations.get_available_reporting_integrations", lambda: ["dvclive"])
    monkeypatch.chdir(tmp_path)
    fit(base, features[:4], tmp_path / "own", features[:4], epochs=1)
    assert list(tmp_path.rglob("*")) == [tmp_path / "own"]
    assert (
        training.build_training_arguments(presets.train(), 0, tmp_path, 1, validate=True, resumed=False).report_to == []
    )


def test_a_training_says_which_bases_its_defaults_are_for(caplog):
    caplog.set_level("INFO", "refrain.training.fit")
    training.log_recipe(presets.config("model=folder", "model.folder=x", "train.epochs=0.5").train)
    training.log_recipe(presets.train())
    assert [record.getMessage() for record in caplog.records] == [
        "train.lr=0.0002, train.epochs=0.5; defaults are those for pretrained bases",
        "train.lr=0.005, train.epochs=10; defaults are those for tiny bases",
    ]
