import io
import logging
import re
import sys

import pytest
from short_trainings import fit


@pytest.mark.heavy
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


@pytest.mark.heavy
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
