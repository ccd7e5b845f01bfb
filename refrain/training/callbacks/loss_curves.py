"""The curves of a training in DVCLive's files, while it goes on and when it is over: for `dvc plots show`, DVC Studio
and the extension of VS Code."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dvclive.live import Live
from dvclive.plots.metric import Metric
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from refrain.pipeline import paths

METRICS = {"train": "train/loss", "val": "val/loss", "kept": "kept/loss", "lr": "train/lr"}  # our name: DVCLive's
LOGGED = {"loss": "train", "eval_loss": "val", "learning_rate": "lr"}  # the Trainer's word: ours


class DVCLiveCallback(TrainerCallback):
    """DVCLive's folder, point by point.

    Nothing else in the repository changes, and points are sent only to a DVC Studio that a person has logged in to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.live: Live | None = None  # in the first process, while it trains

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The folder anew, with the points that a resumed training brings along."""
        if state.is_world_process_zero:
            paths.make_empty(self.folder)
            self.live = Live(str(self.folder), save_dvc_exp=False, dvcyaml=None)
            for name in METRICS:
                begin_curve(self.folder, name)
            for entry in state.log_history:
                log_point(self.live, entry)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """The newest points."""
        if self.live is not None:
            log_point(self.live, state.log_history[-1])

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Whoever watches is told, once an epoch: DVCLive reads all points again for it."""
        if self.live is not None:
            self.live.next_step()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Whoever watches is told that it is over."""
        if self.live is not None:
            self.live.end()
        self.live = None


def log_point(live: Live, entry: dict[str, float]) -> None:
    """A point for each curve that has one in an entry of the Trainer's history."""
    live.step = int(entry["step"])
    for name in LOGGED.keys() & entry.keys():
        live.log_metric(METRICS[LOGGED[name]], round_significant(entry[name]))


def write_curves(folder: Path, **named: Iterable[tuple[int, float]]) -> None:
    """Curves by their names in METRICS as DVCLive writes them, the same bytes for the same points.

    By its writer of a metric alone: its `Live` would open the repository, and a second run in DVC Studio.
    """
    paths.make_empty(folder)
    for name, points in named.items():
        metric = begin_curve(folder, name)
        for metric.step, value in points:
            metric.dump(round_significant(value))


def begin_curve(folder: Path, name: str) -> Metric:
    """A curve without points, for `dvc plots` misses a file, not a point."""
    metric = Metric(METRICS[name], str(folder / "plots"))
    metric.output_path.write_text(f"step\t{metric.output_path.stem}\n")
    return metric


def round_significant(value: float) -> float:
    """Six significant digits: as many as a curve shows, also of a learning rate."""
    return float(f"{value:.6g}")
