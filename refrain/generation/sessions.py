"""What runs a model: ONNX Runtime the exported one, PyTorch the merged one. An engine does not know which."""

from pathlib import Path
from typing import Literal, cast, get_args

from refrain import TRAIN
from refrain.generation import model_choice
from refrain.runtime import loading
from refrain.runtime.loading import Session

Runtime = Literal["onnx", "pytorch"]
MAX_DRAFT_TOKENS = 64  # in one step: each takes the time of a row


def choose_folder(name: str, runtime: Runtime) -> Path:
    """The folder that is meant by a name; ValueError says what to name."""
    if runtime not in get_args(Runtime):
        raise ValueError(f"backend: there is no {runtime}; give one of {', '.join(get_args(Runtime))}")
    return model_choice.choose_model(name) if runtime == "onnx" else model_choice.choose_weights(name)


def check_draft_tokens(count: int, runtime: str) -> None:
    """ValueError where so many tokens of drafts are out of range, or what runs the model takes none."""
    if not 0 <= count <= MAX_DRAFT_TOKENS:
        raise ValueError(
            f"prompt_lookup_num_tokens: {count} is out of range; give up to {MAX_DRAFT_TOKENS}, or 0 for none"
        )
    if count and runtime != "onnx":
        raise ValueError(f"prompt_lookup_num_tokens: backend={runtime} takes no drafts; leave it out")


def open_session(folder: Path, runtime: Runtime, threads: int | None, device: str | None) -> Session:
    """The model of a folder; `device` is for PyTorch alone. ValueError where it does not open."""
    if runtime == "onnx":
        if device is not None:
            raise ValueError(f"device: {device} is for backend=pytorch; ONNX models run on the CPU")
        return loading.load_model(folder, threads)
    try:
        from refrain.models.pytorch import torch_session
    except ModuleNotFoundError as error:
        way_out = f"`pip install '{TRAIN}'` brings it"
        raise ValueError(f"backend=pytorch: {error.name} is not installed; {way_out}") from error
    return cast(Session, torch_session.open_session(folder, threads, device))
