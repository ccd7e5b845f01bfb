"""Weights & Biases, MLflow, TensorBoard and Comet, told of a training and kept on this machine."""

import copy
import logging
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.integration_utils import (
    CometCallback,
    MLflowCallback,
    TensorBoardCallback,
    WandbCallback,
)

from refrain.pipeline import paths


@dataclass
class Tracker:
    """What transformers tells, under what name, where, and what else it takes until all of it is on disk."""

    callback: TrainerCallback
    run: str
    folder: Path
    close: Callable[[], Any] = lambda: None


def callbacks(names: list[str], run: str) -> list[TrainerCallback]:
    """One for all trackers, which write below runs/ unless variables of the environment say otherwise.

    A package that is not installed, or that the environment forbids, is a ValueError.
    """
    unhook_comet()
    return [TrackersCallback([open_tracker(name, run) for name in names])] if names else []


def open_tracker(name: str, run: str) -> Tracker:
    package, build = TRACKERS[name]
    if find_spec(package) is None:
        raise ValueError(f"train.report_to={name} needs the package {package}: pip install 'refrain-lm[{name}]'")
    folder = runs_root() / name
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return build(folder, run)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"train.report_to={name}: {reason}") from error


def runs_root() -> Path:
    """Where all trackers write."""
    return (paths.workspace() / "runs").absolute()


def open_wandb(folder: Path, run: str) -> Tracker:
    """`wandb sync` sends a run that was written offline."""
    set_defaults(WANDB_MODE="offline", WANDB_PROJECT="refrain", WANDB_ERROR_REPORTING="false", WANDB_CONSOLE="off")
    set_defaults(WANDB_DIR=str(folder.parent))  # it adds a folder wandb
    import wandb

    return Tracker(WandbCallback(), os.environ.get("WANDB_NAME", run), folder, wandb.finish)


def open_mlflow(folder: Path, run: str) -> Tracker:
    """A store of files, which newer releases of MLflow read and write only when allowed to."""
    set_defaults(MLFLOW_TRACKING_URI=folder.as_uri(), MLFLOW_ALLOW_FILE_STORE="true", MLFLOW_EXPERIMENT_NAME="refrain")
    set_defaults(MLFLOW_DISABLE_TELEMETRY="true")
    import mlflow

    return Tracker(MLflowCallback(), run, folder, mlflow.flush_async_logging)


def open_tensorboard(folder: Path, run: str) -> Tracker:
    """A folder for each training: curves of two in one would be drawn as one."""
    return Tracker(TensorBoardCallback(), run, folder / f"{run}-{datetime.now():%Y%m%d-%H%M%S-%f}")


def open_comet(folder: Path, run: str) -> Tracker:
    """`comet upload` sends an archive that was written offline."""
    set_defaults(COMET_START_ONLINE="0", COMET_OFFLINE_DIRECTORY=str(folder), COMET_PROJECT_NAME="refrain")
    set_defaults(COMET_DISABLE_AUTO_LOGGING="1", COMET_DISPLAY_SUMMARY_LEVEL="0")
    set_defaults(**{f"COMET_AUTO_LOG_{kind}": "false" for kind in ("CODE", "ENV_DETAILS", "GIT_METADATA", "GIT_PATCH")})
    import comet_ml

    run = os.environ.get("COMET_START_EXPERIMENT_NAME", run)
    return Tracker(CometCallback(), run, folder, comet_ml.end)


TRACKERS: dict[str, tuple[str, Callable[[Path, str], Tracker]]] = {  # the package, and what opens a run
    "wandb": ("wandb", open_wandb),
    "mlflow": ("mlflow", open_mlflow),
    "tensorboard": ("tensorboard", open_tensorboard),
    "comet": ("comet_ml", open_comet),
}


def set_defaults(**variables: str) -> None:
    """What a person has set wins."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)


def unhook_comet() -> None:
    """transformers loads comet_ml where it is installed: it would follow every MLflow run, and report warnings home."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not comes_from(finder, "comet_ml")]
    logger = logging.getLogger("comet_ml")
    logger.handlers[:] = [handler for handler in logger.handlers if not comes_from(handler, "sentry_sdk")]


def comes_from(thing: object, package: str) -> bool:
    return type(thing).__module__.partition(".")[0] == package


@contextmanager
def preserve_random_state() -> Iterator[None]:
    """Random numbers that are drawn inside are drawn again after it."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


class TrackersCallback(TrainerCallback):
    """Trackers hear of the beginning, the numbers and the end of a training, never of a checkpoint."""

    def __init__(self, trackers: list[Tracker]) -> None:
        self.trackers, self.is_open = trackers, False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """A run is opened; a resumed training opens its own."""
        self.is_open = True
        self.forward("on_train_begin", args, state, control, kwargs)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Numbers are written; those after the end of the training belong to no run."""
        if self.is_open:
            self.forward("on_log", args, state, control, kwargs)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """All of it is on disk."""
        self.is_open = False
        self.forward("on_train_end", args, state, control, kwargs)
        with preserve_random_state():
            for tracker in self.trackers:
                tracker.close()

    def forward(
        self, event: str, args: TrainingArguments, state: TrainerState, control: TrainerControl, more: dict[str, Any]
    ) -> None:
        for tracker in self.trackers:
            run_args = copy.copy(args)
            run_args.run_name, run_args.logging_dir = tracker.run, str(tracker.folder)
            with preserve_random_state():
                getattr(tracker.callback, event)(run_args, state, control, **more)
