"""Fitting: a transformers Trainer on encoded rows, with a progress line; what comes back are the loss curves."""

import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, isnan
from typing import Any

import torch
from datasets import Dataset
from tqdm import tqdm
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from refrain.chat import IGNORE, Features
from refrain.config import Train

log = logging.getLogger(__name__)

Collate = Callable[[list[Features]], dict[str, torch.Tensor]]
Curve = list[tuple[int, float]]
LOGGED = 5  # steps to a point of the training curve


@dataclass
class Curves:
    """Mean loss of a supervised token by optimiser step; `val` begins with the untrained model at step 0."""

    train: Curve
    val: Curve


def fit(
    model: PreTrainedModel, rows: list[Features], held_out: list[Features], collate: Collate, train: Train, seed: int
) -> Curves:
    """Train `model` in place; the same inputs give the same weights on the same machine."""
    audit(rows)
    set_seed(seed)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            model=model,
            args=arguments(train, seed, scratch, validate=bool(held_out)),
            train_dataset=dataset(rows),
            eval_dataset=dataset(held_out) if held_out else None,
            data_collator=collate,
            callbacks=[Progress()],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    history = trainer.state.log_history
    return Curves(
        train=[(entry["step"], entry["loss"]) for entry in history if "loss" in entry],
        val=[(entry["step"], entry["eval_loss"]) for entry in history if "eval_loss" in entry],
    )


def facts(curves: Curves, rows: list[Features]) -> dict[str, Any]:
    """What reports/train.json says of a finished training."""
    supervised = sum(label != IGNORE for row in rows for label in row["labels"])
    before, after = (curves.val[i][1] if curves.val else None for i in (0, -1))
    return {
        "rows": len(rows),
        "tokens": sum(len(row["input_ids"]) for row in rows),
        "supervised_tokens": supervised,
        "val_loss": {"before": before, "after": after},
    }


def arguments(train: Train, seed: int, scratch: str, validate: bool) -> TrainingArguments:
    """Our settings in the Trainer's words; reports go nowhere, since dvclive would edit dvc.yaml."""
    return TrainingArguments(
        scratch,
        learning_rate=train.lr,
        num_train_epochs=train.epochs,
        per_device_train_batch_size=train.batch_size,
        per_device_eval_batch_size=train.batch_size,
        gradient_accumulation_steps=train.accumulation,
        warmup_ratio=train.warmup,
        lr_scheduler_type=train.schedule,
        weight_decay=train.weight_decay,
        group_by_length=True,
        seed=seed,
        eval_strategy="epoch" if validate else "no",
        eval_on_start=validate,
        prediction_loss_only=True,
        save_strategy="no",
        logging_steps=LOGGED,
        include_num_input_tokens_seen="all",
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=True,
        adam_beta2=0.98,
        report_to=[],
    )


def audit(rows: list[Features]) -> None:
    """ValueError unless there are rows and each has something to learn."""
    if not rows:
        raise ValueError("data/prepared/train.jsonl: there is no row to train on; see data/prepared/quarantine.jsonl")
    idle = [i for i, row in enumerate(rows) if all(label == IGNORE for label in row["labels"])]
    if idle:
        raise ValueError(f"{len(idle)} rows have nothing to learn, the first is number {idle[0] + 1}; see the template")


def dataset(rows: list[Features]) -> Dataset:
    """Rows with their length, by which batches are grouped."""
    return Dataset.from_list([{**row, "length": len(row["input_ids"])} for row in rows])


class Progress(TrainerCallback):
    """Step, loss, tokens a second and time left: a bar on a terminal, ten lines elsewhere."""

    bar = tqdm(disable=True)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """A bar for all optimiser steps."""
        terminal_only = None if log.isEnabledFor(logging.INFO) else True
        self.bar = tqdm(total=state.max_steps, unit="step", disable=terminal_only, leave=False)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """One step further; the last one is logged, whatever its number."""
        self.bar.update()
        control.should_log |= state.global_step == state.max_steps

    def on_log(self, args: TrainingArguments, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Loss and rate beside the bar, or a line for each tenth of the way."""
        step, loss, tenth = state.global_step, latest(state, "loss"), LOGGED * ceil(state.max_steps / (10 * LOGGED))
        if not self.bar.disable and self.bar.format_dict["elapsed"]:
            rate = state.num_input_tokens_seen / self.bar.format_dict["elapsed"]
            self.bar.set_postfix_str(f"loss {loss:.3f}, {rate:,.0f} tokens/s")
        elif "loss" in state.log_history[-1] and step % tenth == 0:
            log.info("step %d of %d, loss %.3f", step, state.max_steps, loss)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Leave the last numbers."""
        self.bar.close()
        names = {"loss": "loss", "eval_loss": "val loss"}
        said = [f"{names[name]} {latest(state, name):.3f}" for name in names if not isnan(latest(state, name))]
        log.info("%d steps, %s", state.global_step, ", ".join(said))


def latest(state: TrainerState, name: str) -> float:
    """The newest logged value of that name; nan before the first."""
    return float(next((entry[name] for entry in reversed(state.log_history) if name in entry), float("nan")))
