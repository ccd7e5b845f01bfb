"""Early stopping: training ends when the validation loss falls no more, and the weights of its lowest point stay."""

from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from refrain.training.distributed import fsdp, processes


class EarlyStoppingCallback(TrainerCallback):
    """Knows nothing that is not in the history of losses, so that a resumed training decides as one never killed."""

    def __init__(self, epochs: int, folder: Path) -> None:
        self.epochs, self.folder = epochs, folder

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Keep the weights when they are the best so far."""
        epochs = count_epochs_since_best(state)
        if epochs == 0 and processes.rank() == keeping_rank(model):
            part = self.file(model).with_suffix(".part")
            save_file({name: weight.contiguous() for name, weight in fsdp.trainable_shards(model).items()}, part)
            part.replace(self.file(model))
        control.should_training_stop |= epochs >= self.epochs

    def restore(self, model: PreTrainedModel, state: TrainerState) -> None:
        """Put the best weights into the model, unless the last ones are."""
        if count_epochs_since_best(state):
            best = load_file(self.file(model))
            for name, weight in fsdp.trainable_shards(model).items():
                weight.copy_(best[name])

    def file(self, model: Any) -> Path:
        """Where the best weights are, or this process's share of them."""
        return self.folder / f"best-{keeping_rank(model)}.safetensors"


def keeping_rank(model: Any) -> int:
    """The number of the process that keeps what this one has: its own when it has a share, else the first."""
    return processes.rank() if fsdp.is_sharded(model) else 0


def count_epochs_since_best(state: TrainerState) -> int:
    """How many evaluations ago the validation loss was lowest."""
    losses = [entry["eval_loss"] for entry in state.log_history if "eval_loss" in entry]
    return len(losses) - 1 - losses.index(min(losses))
