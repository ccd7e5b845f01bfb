import io
import logging
import sys

from refrain.pipeline import progress

BATCHES = [[1, 2, 3], [4, 5, 6], [7]]


def terminal(monkeypatch):
    """What stands on a terminal, from now on; not a fixture, for pytest puts its own stderr there after all of them."""
    stderr = io.StringIO()
    stderr.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stderr)
    return stderr


def test_a_bar_counts_what_is_in_batches_and_is_gone_at_the_end(monkeypatch):
    shown = terminal(monkeypatch)
    assert list(progress.with_progress(BATCHES, "rows", "replies", len)) == BATCHES
    assert "replies:   0%|" in shown.getvalue() and "| 0/7 [" in shown.getvalue()
    assert shown.getvalue().endswith("\r") and shown.getvalue().split("\r")[-2].strip() == ""


def test_without_a_terminal_or_when_all_is_quiet_there_is_none(caplog, capfd, monkeypatch):
    shown = terminal(monkeypatch)
    caplog.set_level(logging.WARNING, "refrain")
    assert list(progress.with_progress(BATCHES, "rows", "replies", len)) == BATCHES
    assert shown.getvalue() == ""
    monkeypatch.undo()
    caplog.set_level(logging.INFO, "refrain")
    assert list(progress.with_progress(BATCHES, "rows", "replies", len)) == BATCHES
    assert capfd.readouterr() == ("", "")


def test_a_line_stands_above_the_bar_on_a_line_of_its_own(monkeypatch):
    shown = terminal(monkeypatch)
    handler = progress.LineHandler()
    with progress.open_bar("rows", 7):
        before = len(shown.getvalue())
        handler.emit(logging.LogRecord("refrain", logging.INFO, "", 0, "said", (), None))
        cleared, line, drawn = shown.getvalue()[before:].rpartition("said\n")
    assert line and cleared.endswith("\r") and cleared.strip() == "" and "0/7" in drawn
