"""What a person sees of a training: a bar on a terminal, ten lines elsewhere, nothing when it is to be quiet."""

import logging
from math import ceil, isnan
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from refrain.training.distributed import processes
from refrain.training.timing import PhaseTimer

log = logging.getLogger(__name__)


class ProgressCallback(TrainerCallback):
    """Step, loss, learning rate, tokens a second and time left; at the end, where the time went."""

    bar = tqdm(disable=True)

    def __init__(self, timer: PhaseTimer) -> None:
        self.timer, self.optimiser_began = timer, 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """A bar for all optimiser steps, those before a resume included."""
        terminal_only = None if log.isEnabledFor(logging.INFO) and processes.is_main() else True
        self.bar = tqdm(
            total=state.max_steps, initial=state.global_step, unit="step", disable=terminal_only, leave=False
        )

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
        """Loss and rate beside the bar, or a line for each tenth of the way."""
        if "loss" not in state.log_history[-1] or not processes.is_main():
            return
        step, tenth = state.global_step, ceil(state.max_steps / 10)
        loss, rate = latest_value(state, "loss"), latest_value(state, "learning_rate")
        self.bar.set_postfix_str(f"loss {loss:.3f}, lr {rate:.1e}, {self.timer.tokens_per_second:,.0f} tokens/s")
        if self.bar.disable and step % tenth == 0:
            log.info("step %*d of %d, loss %.3f, lr %.1e, %s tokens/s", len(str(state.max_steps)), step,
                     state.max_steps, loss, rate, f"{self.timer.tokens_per_second:,.0f}")  # fmt: skip

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave the last numbers."""
        self.bar.close()
        names = {"loss": "loss", "eval_loss": "val loss"}
        losses = [
            f"{names[name]} {latest_value(state, name):.3f}" for name in names if not isnan(latest_value(state, name))
        ]
        if processes.is_main():
            log.info("%d steps, %s", state.global_step, ", ".join(losses))
            log.info("%s", self.timer)


def latest_value(state: TrainerState, name: str) -> float:
    """The newest logged value of that name; nan before the first."""
    return float(next((entry[name] for entry in reversed(state.log_history) if name in entry), float("nan")))
