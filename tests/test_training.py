import hashlib
import io
import logging
import re
import sys
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM

from refrain import models, sft, training
from refrain.chat import IGNORE
from refrain.config import Adapter, Method, Train

RECIPE = Train(
    lr=3e-3, epochs=3, batch_size=4, accumulation=1, max_tokens=512, warmup=0.0, schedule="constant", weight_decay=0.0
)
FULL = Method(name="", weights="pretrained", adapter=None)
LORA = Method(name="", weights="pretrained", adapter=Adapter(rank=4, alpha=8, dropout=0.0))


@pytest.fixture(scope="module")
def features(talk, rows):
    return sft.features(talk, rows, 512)[0]


@pytest.fixture
def threads():
    """Sets the number of threads, until the test is over."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def fit(base, features, held_out=(), method=FULL, seed=7, **changes):
    """A trained model and its curves."""
    model = models.build(base, method, seed)
    return model, training.fit(model, features, list(held_out), sft.collate, replace(RECIPE, **changes), seed)


def digest(model, folder):
    models.save(model, folder)
    (weights,) = folder.glob("*.safetensors")
    return hashlib.md5(weights.read_bytes()).hexdigest()


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("method", [FULL, LORA], ids=["full", "lora"])
def test_the_same_training_gives_the_same_bytes(base, features, tmp_path, threads, method, count):
    threads(count)
    runs = [digest(fit(base, features, method=method, epochs=1)[0], tmp_path / run) for run in ("one", "two")]
    assert runs[0] == runs[1]


def test_another_seed_gives_other_bytes(base, features, tmp_path):
    one, two = (digest(fit(base, features, seed=seed, epochs=1)[0], tmp_path / str(seed)) for seed in (1, 2))
    assert one != two


@pytest.mark.parametrize("method", [FULL, LORA], ids=["full", "lora"])
def test_the_loss_falls(base, features, method):
    _, curves = fit(base, features, features[:4], method, lr=1e-2, epochs=5)
    assert curves.train[-1][1] < curves.train[0][1] - 0.3
    assert curves.val[-1][1] < curves.val[0][1] - 0.3


@pytest.mark.parametrize("method", [FULL, LORA], ids=["full", "lora"])
def test_small_batches_add_up_to_a_large_one(base, features, method):
    changes = {"lr": 1e-3, "epochs": 2, "method": method}
    large, _ = fit(base, features, batch_size=8, **changes)
    small, _ = fit(base, features, batch_size=2, accumulation=4, **changes)
    start = models.build(base, method, 7).state_dict()
    moved, apart = 0.0, 0.0
    for (name, a), b in zip(large.state_dict().items(), small.state_dict().values(), strict=True):
        moved, apart = max(moved, (a - start[name]).abs().max().item()), max(apart, (a - b).abs().max().item())
    assert apart < 1e-6 and moved > 1e-3


def test_the_curves_begin_with_the_untrained_model(base, features):
    """Rows of one length, so that the mean over rows is the mean over tokens."""
    held_out = [features[0]] * 3
    with torch.no_grad():
        loss = AutoModelForCausalLM.from_pretrained(base)(**sft.collate(held_out)).loss.item()
    _, curves = fit(base, features, held_out, epochs=2)
    assert [step for step, _ in curves.val] == [0, 4, 8]
    assert curves.val[0][1] == pytest.approx(loss, abs=1e-5)


def test_without_held_out_rows_there_is_no_validation_curve(base, features):
    _, curves = fit(base, features, epochs=1)
    assert curves.val == []
    assert training.facts(curves, features)["val_loss"] == {"before": None, "after": None}


def test_the_shortest_training_has_a_curve(base, features):
    _, curves = fit(base, features[:4], epochs=1)
    assert [step for step, _ in curves.train] == [1]


def test_facts_count_what_was_learned():
    rows = [{"input_ids": [1, 2, 3], "labels": [IGNORE, 2, 3]}, {"input_ids": [4, 5], "labels": [IGNORE, 5]}]
    curves = training.Curves(train=[(5, 1.0)], val=[(0, 3.0), (2, 2.0), (4, 1.5)])
    assert training.facts(curves, rows) == {
        "rows": 2,
        "tokens": 5,
        "supervised_tokens": 3,
        "val_loss": {"before": 3.0, "after": 1.5},
    }


def test_rows_with_nothing_to_learn_stop_the_run_by_number(base, features):
    idle = {**features[0], "labels": [IGNORE] * len(features[0]["labels"])}
    with pytest.raises(ValueError, match=r"^2 rows have nothing to learn, the first is number 3; .*$"):
        fit(base, [*features[:2], idle, features[2], idle])


def test_no_rows_stop_the_run(base):
    with pytest.raises(ValueError, match=r"^data/prepared/train\.jsonl: there is no row to train on; .*quarantine"):
        fit(base, [])


def test_a_training_reports_to_nobody_and_leaves_nothing_behind(base, features, tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.integrations.get_available_reporting_integrations", lambda: ["dvclive"])
    monkeypatch.chdir(tmp_path)
    fit(base, features[:4], features[:4], epochs=1)
    assert list(tmp_path.iterdir()) == []
    assert training.arguments(RECIPE, 0, str(tmp_path), validate=True).report_to == []


@pytest.mark.parametrize("steps", [1, 4, 19, 120])
def test_away_from_a_terminal_progress_is_a_dozen_lines(base, features, caplog, capfd, steps):
    caplog.set_level(logging.INFO, "refrain")
    fit(base, features[:1] * steps, batch_size=1, epochs=1)
    lines = [record.getMessage() for record in caplog.records if record.name == "refrain.training"]
    assert 1 <= len(lines) <= 12 and lines[-1].startswith(f"{steps} steps, loss ")
    assert len(set(lines)) == len(lines) and not any("nan" in line for line in lines)
    assert capfd.readouterr() == ("", "")


def test_a_quiet_training_says_nothing(base, features, caplog, capfd):
    caplog.set_level(logging.WARNING, "refrain")
    fit(base, features[:4], features[:4], epochs=2)
    assert not caplog.records and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
def test_on_a_terminal_progress_is_a_bar_unless_all_is_quiet(base, features, caplog, monkeypatch, level):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    caplog.set_level(level, "refrain")
    fit(base, features, batch_size=1, epochs=1)
    if level == logging.INFO:
        assert re.search(r"/16 .*loss \d+\.\d{3}, [\d,]+ tokens/s", terminal.getvalue())
        assert len(caplog.records) == 1, "the last numbers stay"
    else:
        assert terminal.getvalue() == "" and not caplog.records
