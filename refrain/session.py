"""A model.onnx, open in ONNX Runtime on the CPU, whichever graph it holds."""

import json
import os
import sys
from pathlib import Path

import onnxruntime
from onnxruntime import InferenceSession


def opened(path: Path, threads: int | None) -> InferenceSession:
    """The model in a file; ValueError when there is none, or none that runs here."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file; `dvc pull models/onnx` fetches it, `dvc repro` makes it")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or cores()
    options.log_severity_level = 4  # fatal only: errors come back as exceptions
    try:
        return InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no narrower class
        way_out = f"`refrain check {path.parent}` tells whether it is whole"
        raise ValueError(f"{path}: it does not open ({error}); {way_out}") from error


def past(session: InferenceSession) -> list[str]:
    """The inputs that hold keys and values; ValueError when there are none."""
    names = [each.name for each in session.get_inputs() if each.name.startswith("past_key_values.")]
    if not names:
        raise ValueError("model.onnx: it takes no past; export it as text-generation-with-past")
    return names


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def context(folder: Path) -> int:
    """How many tokens the model can see at once, as its config.json says."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    sizes = (config[key] for key in ("max_position_embeddings", "n_positions") if key in config)
    return int(next(sizes, sys.maxsize))  # a model without learned positions may name no end
