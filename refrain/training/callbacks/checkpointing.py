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


SECONDS = "REFRAIN_CHECKPOINT_SECONDS"  # an environment variable: it changes no result, so it has no place in conf/


SHARE = 20  # checkpoints take at most the twentieth part of the time


class CheckpointCallback(TrainerCallback):
    """Saves after so many seconds, after a signal, and when what started the training is gone: `dvc`, or a launcher."""

    def __init__(self) -> None:
        self.seconds = interval_seconds()
        self.saved, self.cost, self.begun = time.monotonic(), 0.0, 0.0
        self.asked: str | None = None
        self.above = parent_processes()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Ask for a checkpoint, but not where an epoch ends: its validation loss is still to come."""
        gone = [name for name, process in self.above.items() if not alive(process)]
        if self.asked is None and gone:
            self.asked = f"{gone[0]} is gone"
        if not epoch_is_over(state):
            self.decide(state, control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The same, after the evaluation; there is none where a training was stopped in the middle."""
        if epoch_is_over(state):
            self.decide(state, control)
        elif state.global_step < state.max_steps:
            control.should_evaluate = False

    def decide(self, state: TrainerState, control: TrainerControl) -> None:
        """Whether a checkpoint is worth its time now; after the last step none is, for all that is left is to write."""
        self.begun = time.monotonic()
        asked = processes.any_rank(self.asked is not None)
        due = processes.any_rank(self.begun - self.saved >= max(self.seconds, SHARE * self.cost))
        if state.global_step < state.max_steps:
            control.should_save |= asked or due
            control.should_training_stop |= asked
            self.asked = self.asked or ("another process was asked to" if asked else None)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """How long it took decides when the next one is due."""
        self.saved = time.monotonic()
        self.cost = self.saved - self.begun

    @contextmanager
    def handling_signals(self) -> Iterator[None]:
        """Inside, Ctrl-C and SIGTERM end the training after its step, and a second one at once."""
        before = {number: signal.signal(number, self.on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """The first signal asks, the second interrupts."""
        if self.asked is not None:
            raise KeyboardInterrupt(f"{self.asked} twice")
        self.asked = signal.Signals(number).name
        log.info("%s: the training stops after this step", self.asked)


def epoch_is_over(state: TrainerState) -> bool:
    return state.epoch == int(state.epoch or 0)


def parent_processes() -> dict[str, psutil.Process]:
    """The processes that this one works for, by name: a `dvc`, and the one that started several such as this."""
    parents = psutil.Process().parents()
    found = {}
    if processes.world_size() > 1:
        found["the launcher"] = parents[0]
    if "DVC_STAGE" in os.environ:
        dvc = next((each for each in parents if any("dvc" in Path(word).name for word in words(each))), None)
        found.update({"dvc": dvc} if dvc else {})
    return found


def words(process: psutil.Process) -> list[str]:
    """The command line of a process; none where the system does not show it, as with others' processes on macOS."""
    return process.as_dict(["cmdline"])["cmdline"] or []


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:  # it ended between the two questions
        return False


def interval_seconds() -> float:
    """How long a training goes on without a checkpoint; ValueError when the environment gives no number."""
    asked = os.environ.get(SECONDS, "60")
    try:
        return float(asked)
    except ValueError as error:
        raise ValueError(f"{SECONDS}={asked} is no number of seconds; correct or unset it") from error
