"""A stage as a process of its own: its lines come through as it works, its end as a value or an exception.

So memory is free afterwards, and what a stage does to a process, a notebook does not see.
"""

import logging
import os
import signal
import site
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import refrain
from refrain.pipeline import runner

log = logging.getLogger(__name__)
FOREIGN = ("DVC_", "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_")  # of another run
TRACEBACK = "Traceback (most recent call last):"


def run_stage(name: str, folder: Path, *arguments: str) -> bool:
    """`python -m stages.NAME` in a folder laid out as the repository is; True when it ended well though interrupted.

    ValueError with what the stage says is wrong with the data or the settings; RuntimeError when it broke.
    KeyboardInterrupt is passed on once and waited for, so that a checkpoint is made; a second one ends the stage.
    """
    with tempfile.TemporaryDirectory(prefix="refrain-") as scratch:
        reason_file = Path(scratch, "reason")
        process = subprocess.Popen(
            [sys.executable, "-m", f"stages.{name}", *arguments],
            cwd=folder,
            env=stage_environment() | {runner.REASON_FILE: str(reason_file)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C on a terminal reaches us alone, and the stage once
        )
        with process:
            last_line, is_interrupted = show_lines(process)
        reason = reason_file.read_text(encoding="utf-8") if reason_file.is_file() else ""
    if process.returncode:
        if is_interrupted:
            raise KeyboardInterrupt(reason.removeprefix(f"{name}: "))
        raise_reason(name, process.returncode, reason, last_line)
    return is_interrupted


def show_lines(process: subprocess.Popen[str]) -> tuple[str, bool]:
    """Show what a stage says until it ends; its last line, and whether it was interrupted."""
    line, is_interrupted = "", False
    try:
        for line in map(str.rstrip, process.stdout or ()):
            show(line)
    except KeyboardInterrupt:
        is_interrupted = True
        process.send_signal(signal.SIGINT)
    try:
        for line in map(str.rstrip, process.stdout or ()):
            show(line)
    except KeyboardInterrupt:  # once more: who asks so will not wait
        process.kill()
    return line, is_interrupted


def raise_reason(name: str, code: int, reason: str, last_line: str) -> NoReturn:
    """What a stage ended with, as an exception."""
    sentence = reason.removeprefix(f"{name}: ")
    if code == runner.INTERRUPTED:
        raise KeyboardInterrupt(sentence)
    if code < 0:
        number = signal.Signals(-code).name
        raise RuntimeError(f"{name}: {number} ended it, most often because memory ran out; give it less to hold at "
                           "once, such as a smaller micro_batch_tokens")  # fmt: skip
    if reason and not reason.startswith(TRACEBACK):
        raise ValueError(sentence)
    words = (reason or last_line or f"it ended with exit code {code}").rstrip().splitlines()[-1]
    error = RuntimeError(f"{name}: {words}; this is a defect of refrain, report it")
    error.add_note(reason)
    raise error


def stage_environment() -> dict[str, str]:
    """Ours without what tells of another run, and with refrain where it is not installed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    kept.pop("PYTHONSAFEPATH", None)  # the folder of the run comes first
    place = str(Path(refrain.__file__).parents[1])
    if place not in (*site.getsitepackages(), site.getusersitepackages()):
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, [place, kept.get("PYTHONPATH")]))
    return kept | {"PYTHONUNBUFFERED": "1"}


def show(line: str) -> None:
    """Where a program has set up logging its handlers get the line, else stderr."""
    if log.hasHandlers():
        log.info("%s", line)
    else:
        print(line, file=sys.stderr, flush=True)
