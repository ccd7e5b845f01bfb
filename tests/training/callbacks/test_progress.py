import io
import logging
import re
import sys
from statistics import fmean

import pytest
from short_trainings import At, fit, interrupt


def terminal(monkeypatch):
    """What stands on a terminal, from now on; not a fixture, for pytest puts its own stderr there after all of them."""
    stderr = io.StringIO()
    stderr.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stderr)
    return stderr


@pytest.mark.heavy
@pytest.mark.parametrize("steps", [1, 4, 19, 120])
def test_away_from_a_terminal_progress_is_a_dozen_lines(base, features, tmp_path, caplog, capfd, steps):
    caplog.set_level(logging.INFO, "refrain")
    fit(base, features[:1] * steps, tmp_path, batch_size=1, epochs=1)
    lines = [record.getMessage() for record in caplog.records]
    assert 3 <= len(lines) <= 13 and lines[-3].startswith(f"{steps} steps, loss ")
    parts = ["forward", "backward", "optimiser", "other"]
    assert re.fullmatch(r"[\d.]+ s: " + ", ".join(rf"{part} \d+%" for part in parts), lines[-2])
    assert lines[-1] == f"kept: the weights of the last step, {steps}"
    assert len(set(lines)) == len(lines) and not any("nan" in line for line in lines)
    assert capfd.readouterr() == ("", "")


@pytest.mark.heavy
def test_a_line_has_the_mean_of_the_last_steps_and_the_newest_validation_loss_also_after_a_stop(
    base, features, tmp_path, caplog
):
    caplog.set_level(logging.INFO, "refrain")
    settings = {"held_out": features[:3], "batch_size": 1, "epochs": 2}
    with pytest.raises(KeyboardInterrupt):
        fit(base, features, tmp_path / "stopped", callbacks=[At(14, interrupt)], **settings)
    _, curves = fit(base, features, tmp_path / "stopped", **settings)
    line = r"step +(\d+) of 32, loss ([\d.]+) \(mean of (\d+) steps\), val loss ([\d.]+) \(step (\d+)\), lr .* tokens/s"
    lines = [match.groups() for record in caplog.records if (match := re.match(line, record.getMessage()))]
    losses, validation = [loss for _, loss in curves.train], dict(curves.val)
    assert [int(step) for step, *_ in lines] == [4, 8, 12, 16, 20, 24, 28, 32]
    for step, loss, count, val, at in lines:
        assert int(count) == min(10, int(step)) and int(at) == int(step) // 16 * 16
        assert (
            loss == f"{fmean(losses[int(step) - int(count) : int(step)]):.3f}" and val == f"{validation[int(at)]:.3f}"
        )


def test_a_quiet_training_says_nothing(base, features, tmp_path, caplog, capfd):
    caplog.set_level(logging.WARNING, "refrain")
    fit(base, features[:4], tmp_path, features[:4], epochs=2)
    assert not caplog.records and capfd.readouterr() == ("", "")


@pytest.mark.heavy
@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
def test_on_a_terminal_progress_is_a_bar_unless_all_is_quiet(base, features, tmp_path, caplog, monkeypatch, level):
    shown = terminal(monkeypatch)
    caplog.set_level(level, "refrain")
    fit(base, features, tmp_path, features[:3], batch_size=1, epochs=2)
    if level == logging.INFO:
        numbers = r"loss \d+\.\d{3}, val loss \d\.\d{3}, [\d,]+ tokens/s"
        assert re.search(rf"/32 .*{numbers}", shown.getvalue())
        assert [record.getMessage()[:8] for record in caplog.records[:-3]] == ["step 16 ", "step 32 "], (
            "after validation"
        )
        assert len(caplog.records) == 5, "the last numbers stay"
    else:
        assert shown.getvalue() == "" and not caplog.records
