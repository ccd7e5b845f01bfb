"""What a person sees of a training: a bar on a terminal, ten lines elsewhere, nothing when it is to be quiet."""

import logging
from collections import deque
from collections.abc import Mapping
from math import ceil
from statistics import fmean
from typing import Any, NoReturn

from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from refrain.pipeline import progress
from refrain.training.distributed import processes
from refrain.training.timing import PhaseTimer

log = logging.getLogger(__name__)
LEAST, MOST = 10, 100  # steps that a loss is averaged over: a tenth of all, within these


class ProgressCallback(TrainerCallback):
    """Step, losses, learning rate, tokens a second and time left; at the end, where the time went."""

    bar: "tqdm[NoReturn]" = tqdm(disable=True)

    def __init__(self, timer: PhaseTimer) -> None:
        self.timer, self.optimiser_began = timer, 0.0
        self.began, self.began_at, self.tenths = 0.0, 0, 0  # when and at which step; tenths of the way that have a line
        self.losses: deque[float] = deque()  # of the last steps
        self.validation: tuple[int, float] | None = None  # the step of the newest validation loss, and the loss

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """A bar for all optimiser steps, those before a resume included."""
        self.losses = deque(maxlen=min(MOST, max(LEAST, ceil(state.max_steps / 10))))
        for entry in state.log_history:
            self.read_entry(entry)
        if processes.is_main():
            self.bar = progress.open_bar("steps", state.max_steps, done=state.global_step)
        self.began, self.began_at = self.timer.now(), state.global_step
        self.tenths = count_tenths(state)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The optimiser's time begins."""
        self.optimiser_began = self.timer.now()

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The optimiser's time ends."""
        self.timer.add("optimiser", self.optimiser_began)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """One step further."""
        self.bar.update()

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Losses and rates beside the bar; without one a line, but not where a validation loss is still to come."""
        entry = state.log_history[-1]
        self.read_entry(entry)
        self.bar.set_postfix_str(", ".join([*self.describe_losses(is_short=True), self.describe_speed()]))
        is_epoch_over = state.epoch == int(state.epoch or 0)
        if "eval_loss" in entry or ("loss" in entry and self.bar.disable and not (is_epoch_over and args.do_eval)):
            self.log_line(state)

    def read_entry(self, entry: Mapping[str, float]) -> None:
        """The losses in an entry of the Trainer's history."""
        if "loss" in entry:
            self.losses.append(entry["loss"])
        if "eval_loss" in entry:
            self.validation = int(entry["step"]), entry["eval_loss"]

    def log_line(self, state: TrainerState) -> None:
        """A line for each tenth of the way, once."""
        if not processes.is_main() or count_tenths(state) == self.tenths:
            return
        self.tenths = count_tenths(state)
        step, steps = state.global_step, state.max_steps
        rate = next((entry["learning_rate"] for entry in reversed(state.log_history) if "learning_rate" in entry), 0.0)
        parts = [f"step {step:{len(str(steps))}} of {steps}", *self.describe_losses(), f"lr {rate:.1e}"]
        parts.append(self.describe_speed())
        if step < steps:
            seconds = (self.timer.now() - self.began) / (step - self.began_at) * (steps - step)
            parts.append(f"{tqdm.format_interval(seconds)} left")
        log.info("%s", ", ".join(parts))

    def describe_losses(self, is_short: bool = False) -> list[str]:
        """The mean loss of the last steps, for that of one is the luck of its rows, and the newest validation loss."""
        parts = []
        if self.losses:
            parts.append(
                f"loss {fmean(self.losses):.3f}" + ("" if is_short else f" (mean of {len(self.losses)} steps)")
            )
        if self.validation is not None:
            step, loss = self.validation
            parts.append(f"val loss {loss:.3f}" + ("" if is_short else f" (step {step})"))
        return parts

    def describe_speed(self) -> str:
        return f"{self.timer.tokens_per_second:,.0f} tokens/s"

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave the last numbers."""
        self.bar.close()
        if processes.is_main():
            log.info("%s", ", ".join([f"{state.global_step} steps", *self.describe_losses()]))
            log.info("%s", self.timer)


def count_tenths(state: TrainerState) -> int:
    """How many tenths of the way are gone."""
    return state.global_step // ceil(state.max_steps / 10)
