"""When a training is saved and when it stops: often enough to lose little, and at once when it is asked to end."""

import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from refrain.training.distributed import processes

log = logging.getLogger(__name__)
INTERVAL_VARIABLE = (
    "REFRAIN_CHECKPOINT_SECONDS"  # an environment variable: it changes no result, so it has no place in conf/
)


COST_FACTOR = 20  # checkpoints take at most the twentieth part of the time


class CheckpointCallback(TrainerCallback):
    """Saves after so many seconds, after a signal, and when what started the training is gone: `dvc`, or a launcher."""

    def __init__(self) -> None:
        self.seconds = read_interval_seconds()
        self.saved_at, self.save_seconds, self.decided_at = time.monotonic(), 0.0, 0.0
        self.stop_reason: str | None = None
        self.parents = find_parent_processes()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Ask for a checkpoint, but not where an epoch ends: its validation loss is still to come."""
        gone = [name for name, process in self.parents.items() if not is_alive(process)]
        if self.stop_reason is None and gone:
            self.stop_reason = f"{gone[0]} is gone"
        if not is_epoch_over(state):
            self.request_checkpoint(state, control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The same, after the evaluation; there is none where a training was stopped in the middle."""
        if is_epoch_over(state):
            self.request_checkpoint(state, control)
        elif state.global_step < state.max_steps:
            control.should_evaluate = False

    def request_checkpoint(self, state: TrainerState, control: TrainerControl) -> None:
        """Whether a checkpoint is worth its time now; after the last step none is, for all that is left is to write."""
        self.decided_at = time.monotonic()
        is_asked = processes.any_rank(self.stop_reason is not None)
        is_due = processes.any_rank(
            self.decided_at - self.saved_at >= max(self.seconds, COST_FACTOR * self.save_seconds)
        )
        if state.global_step < state.max_steps:
            control.should_save |= is_asked or is_due
            control.should_training_stop |= is_asked
            self.stop_reason = self.stop_reason or ("another process was asked to" if is_asked else None)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """How long it took decides when the next one is due."""
        self.saved_at = time.monotonic()
        self.save_seconds = self.saved_at - self.decided_at

    @contextmanager
    def handle_signals(self) -> Iterator[None]:
        """Inside, Ctrl-C and SIGTERM end the training after its step, and a second one at once."""
        before = {number: signal.signal(number, self.on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """The first signal asks, the second interrupts."""
        if self.stop_reason is not None:
            raise KeyboardInterrupt(f"{self.stop_reason} twice")
        self.stop_reason = signal.Signals(number).name
        log.info("%s: the training stops after this step", self.stop_reason)


def is_epoch_over(state: TrainerState) -> bool:
    return state.epoch == int(state.epoch or 0)


def find_parent_processes() -> dict[str, psutil.Process]:
    """The processes that this one works for, by name: a `dvc`, and the one that started several such as this."""
    parents = psutil.Process().parents()
    result = {}
    if processes.world_size() > 1:
        result["the launcher"] = parents[0]
    if "DVC_STAGE" in os.environ:
        dvc = next(
            (parent for parent in parents if any("dvc" in Path(word).name for word in command_line(parent))), None
        )
        result.update({"dvc": dvc} if dvc else {})
    return result


def command_line(process: psutil.Process) -> list[str]:
    """The command line of a process; none where the system does not show it, as with others' processes on macOS."""
    return process.as_dict(["cmdline"])["cmdline"] or []


def is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:  # it ended between the two questions
        return False


def read_interval_seconds() -> float:
    """How long a training goes on without a checkpoint; ValueError when the environment gives no number."""
    text = os.environ.get(INTERVAL_VARIABLE, "60")
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"{INTERVAL_VARIABLE}={text} is no number of seconds; correct or unset it") from error
