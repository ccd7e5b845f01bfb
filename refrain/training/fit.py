"""A training from its first step, or from where it was killed, to its last; what comes back are the curves."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any, cast

import torch
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from refrain.chat.records import Row
from refrain.pipeline.schema import MethodConfig, TrainConfig
from refrain.training import batching, checkpoints, finiteness, packing
from refrain.training.callbacks.checkpointing import CheckpointCallback
from refrain.training.callbacks.early_stopping import EarlyStoppingCallback
from refrain.training.callbacks.progress import ProgressCallback
from refrain.training.cpu import heap, lora_products, onednn, thread_invariance
from refrain.training.distributed import processes
from refrain.training.objectives.objective import Objective
from refrain.training.timing import PhaseTimer
from refrain.training.trainer import StepTrainer

log = logging.getLogger(__name__)

Curve = list[tuple[int, float]]
LOGGED = ("loss", "eval_loss", "learning_rate")
DECIDING = (  # of the settings: those that decide the weights; others decide memory, speed, trackers
    "lr", "epochs", "batch_size", "packing", "warmup", "schedule", "decay", "weight_decay", "patience", "precision",
)  # fmt: skip
SCHEDULES = {"wsd": "warmup_stable_decay"}  # ours: the Trainer's, where they differ


@dataclass
class LossCurves:
    """The mean loss and the learning rate by optimiser step; `val` begins with the untrained model at step 0."""

    train: Curve
    val: Curve
    lr: Curve
    kept_step: int  # the step whose weights the model has: the last one, or with patience the best

    def kept(self) -> Curve:
        """The validation loss of the weights that the model has, as a curve of one point; none without validation."""
        return [point for point in self.val if point[0] == self.kept_step]


def train_model(
    model: PreTrainedModel,
    rows: list[Any],
    held_out: list[Any],
    objective: Objective,
    train: TrainConfig,
    seed: int,
    folder: Path,
    timer: PhaseTimer | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> LossCurves:
    """Train `model` in place; the same inputs give the same weights on the same machine, also after a kill.

    `folder` is this training's alone: checkpoints go there, and the newest whole one is where it goes on. Stopped by a
    signal it raises KeyboardInterrupt with a sentence, with a checkpoint left behind.
    """
    if train.patience is not None and not held_out:
        raise ValueError(f"train.patience={train.patience} needs a validation loss, and there is no row to validate "
                         "with; raise data.val_fraction, or set train.patience=null")  # fmt: skip
    finiteness.require_finite_base(model)
    heap.keep_freed_memory()
    set_seed(seed)
    start, checkpointing, timer = checkpoints.latest_checkpoint(folder), CheckpointCallback(), timer or PhaseTimer()
    steps = batching.StepSampler([objective.token_count(row) for row in rows], train.batch_size, seed)
    early_stopping = [] if train.patience is None else [EarlyStoppingCallback(train.patience, folder)]
    watchers = [ProgressCallback(timer), checkpointing, *early_stopping, *callbacks]
    with own_environment():
        args = build_training_arguments(train, seed, folder, len(steps), bool(held_out), resumed=start is not None)
        trainer = StepTrainer(
            objective, rows, held_out, steps, train, timer, model=model, args=args, callbacks=watchers
        )
        run_trainer(trainer, checkpointing, start)
    for callback in early_stopping:
        callback.restore(model, trainer.state)
    finiteness.require_finite_weights(model, trainer.state.global_step, trainer.way_out())
    curves = curves_from_history(trainer.state, keep_best=bool(early_stopping))
    log.info("%s", describe_kept_weights(curves, train.patience))
    return curves


@contextmanager
def own_environment() -> Iterator[None]:
    """Inside, the environment sets nothing that the configuration decides, and nothing is left in it afterwards.

    accelerate takes a precision and more from there, and transformers leaves them there.
    """
    outside = {name: os.environ.pop(name) for name in list_accelerate_variables()}
    if (precision := outside.get("ACCELERATE_MIXED_PRECISION", "no")) != "no":
        log.info("ACCELERATE_MIXED_PRECISION=%s of the environment has no say, train.precision has", precision)
    try:
        yield
    finally:
        for name in list_accelerate_variables():
            del os.environ[name]
        os.environ.update(outside)


def list_accelerate_variables() -> list[str]:
    """What is set for accelerate, but for the device that `processes` has chosen."""
    return sorted(name for name in os.environ if name.startswith("ACCELERATE_") and name != "ACCELERATE_TORCH_DEVICE")


def run_trainer(trainer: StepTrainer, checkpointing: CheckpointCallback, start: Path | None) -> None:
    """To the last step, from a checkpoint if there is one; KeyboardInterrupt when a signal came first."""
    trainer.remove_callback(PrinterCallback)  # type: ignore[no-untyped-call]
    checkpoints.require_disk_space(Path(str(trainer.args.output_dir)), trainer.checkpoint_bytes())
    if start is not None:
        trainer.restore_state(TrainerState.load_from_json(str(start / "trainer_state.json")))
    model = cast(PreTrainedModel, trainer.model)
    product_type = trainer.product_type()
    with (
        checkpointing.handle_signals(),
        packing.packed_attention(model) if trainer.packed else nullcontext(),
        nullcontext() if product_type is None else thread_invariance.thread_invariant_layers(model),
        thread_invariance.ordered_sums() if trainer.args.device.type == "cpu" else nullcontext(),
        onednn.onednn_products(model) if product_type == torch.float32 else nullcontext(),
        lora_products.fused_adapters(model, product_type, keeps_copies=not trainer.args.gradient_checkpointing)
        if product_type is not None
        else nullcontext(),
    ):
        trainer.prepare_objective()
        trainer.train(resume_from_checkpoint=str(start) if start else None)
    if checkpointing.stop_reason is not None and trainer.state.global_step < trainer.state.max_steps:
        raise KeyboardInterrupt(f"stopped at step {trainer.state.global_step} ({checkpointing.stop_reason}); "
                                "the next run goes on from there")  # fmt: skip


def build_training_arguments(
    train: TrainConfig, seed: int, folder: Path, steps: int, validate: bool, resumed: bool
) -> TrainingArguments:
    """Our settings in the Trainer's words; reports go nowhere, since dvclive would edit dvc.yaml."""
    decay = {"num_decay_steps": ceil(train.decay * steps * train.epochs)} if train.schedule == "wsd" else {}
    warmup = train.warmup if ceil(steps * train.epochs) > 1 else 0.0  # at rate 0 the only step would teach nothing
    precision = train.precision or default_precision()
    return TrainingArguments(
        str(folder),
        learning_rate=train.lr,
        num_train_epochs=train.epochs,
        per_device_train_batch_size=1,
        ddp_find_unused_parameters=False,
        warmup_ratio=warmup,
        lr_scheduler_type=SCHEDULES.get(train.schedule, train.schedule),
        lr_scheduler_kwargs=decay,
        weight_decay=train.weight_decay,
        adam_beta2=0.98,
        seed=seed + processes.rank(),  # of dropout, which is not to be the same in all
        use_cpu=not torch.accelerator.is_available(),
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        gradient_checkpointing=train.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        torch_compile=train.compile,
        eval_strategy="epoch" if validate else "no",
        eval_on_start=validate and not resumed,
        save_strategy="no",
        logging_steps=1,
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to=[],
    )


def log_recipe(train: TrainConfig) -> None:
    """One line about how fast and how long is learned, and for which bases the defaults of both are made."""
    log.info("train.lr=%g, train.epochs=%g; defaults are those for %s bases", train.lr, train.epochs, train.recipe)


def require_rows(objective: Objective, rows: list[Row], encoded: list[Any], left_out: Mapping[str, list[str]]) -> None:
    """How many rows are left out and why; ValueError with the way out when none is left to learn from."""
    objective.require_rows(rows, encoded)
    for reason, ids in left_out.items():
        if ids:
            log.info("%d of %d training rows are left out as %s, the first is %s", len(ids), len(rows), reason, ids[0])


def default_precision() -> str:
    """The precision that the device is made for; on a CPU fp32, which every CPU computes alike."""
    if not torch.cuda.is_available():
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported() else "fp16"


def device_name() -> str:
    """The kind of processor, as far as results depend on it."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return str(torch.backends.cpu.get_cpu_capability())


def curves_from_history(state: TrainerState, keep_best: bool) -> LossCurves:
    """The curves in the history of a training, resumed or not."""
    train, val, lr = (
        [(int(entry["step"]), entry[name]) for entry in state.log_history if name in entry] for name in LOGGED
    )
    kept_step = min(val, key=lambda point: point[1])[0] if keep_best else state.global_step
    return LossCurves(train, val, lr, kept_step)


def describe_kept_weights(curves: LossCurves, patience: int | None) -> str:
    """Which weights the model has, and why these."""
    last = curves.train[-1][0]
    if not curves.val:
        return f"kept: the weights of the last step, {last}"
    (best, lowest), (_, first), (_, now) = min(curves.val, key=lambda point: point[1]), curves.val[0], curves.val[-1]
    if best == 0:
        which = "those before the first step" if curves.kept_step == 0 else f"those of the last step, {last}"
        return f"kept: {which}; the validation loss rose from {first:.3f} to {now:.3f}: lower train.lr"
    if best == last:
        return f"kept: the weights of the last step, {last}, where the validation loss is lowest, {lowest:.3f}"
    if patience is not None:
        return (
            f"kept: the weights of step {best}, where the validation loss is lowest, {lowest:.3f}; now it is {now:.3f}"
        )
    return (f"kept: the weights of the last step, {last}, as train.patience is null; the validation loss is {now:.3f}, "
            f"and was {lowest:.3f} at step {best}: docs/training.md says when that matters")  # fmt: skip


def training_report(
    curves: LossCurves,
    rows: list[Any],
    objective: Objective,
    left_out: Mapping[str, list[str]],
    audit: Mapping[str, Any],
) -> dict[str, Any]:
    """What reports/train.json says of a finished training: also how many rows it left out, and why."""
    losses = dict(curves.val)
    return {
        "rows": len(rows),
        "steps": len(curves.train),
        "kept": curves.kept_step,
        "tokens": sum(map(objective.token_count, rows)),
        "supervised_tokens": sum(map(objective.label_count, rows)),
        "val_loss": {"before": losses.get(0), "after": losses.get(curves.kept_step)},
        **{reason: len(ids) for reason, ids in left_out.items()},
        "audit": audit,
    }


def recipe_facts(method: MethodConfig, train: TrainConfig, seed: int) -> dict[str, Any]:
    """The settings that decide the weights, for reports/train.json."""
    return {"method": asdict(method), "settings": {name: getattr(train, name) for name in DECIDING}, "seed": seed}
