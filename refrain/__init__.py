"""Refrain: from raw conversations to a small chat model in ONNX, every step proven.

    data = refrain.data.load("chats.jsonl")
    model = refrain.finetune(data, model="smollm2-135m")
    artifact = refrain.export(model)
    chat = refrain.load(artifact.folder)

`load` opens an exported model without PyTorch; the other three need the extra `train`.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refrain import data as data
    from refrain.generation.model import load
    from refrain.workflow.exporting import export
    from refrain.workflow.finetuning import finetune

__version__ = "0.1.0"
__all__ = ["data", "export", "finetune", "load"]
PLACES = {  # what none of these should wait for loads when it is first asked for
    "export": "refrain.workflow.exporting",
    "finetune": "refrain.workflow.finetuning",
    "load": "refrain.generation.model",
}
TRAIN = "refrain-lm[train]"  # what brings it
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # from 1.31 on ONNX Runtime reports home unless told not to
# Threads that wait for work keep their cores busy, by default for so long that a training beside another program takes
# ten times as long. Read by OpenMP's libraries, of GNU and of LLVM and Intel, when PyTorch loads them.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    os.environ.setdefault("KMP_BLOCKTIME", "1")


def __getattr__(name: str) -> Any:
    if name == "data":
        return importlib.import_module("refrain.data")
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_late(PLACES[name], name)


def import_late(module: str, name: str) -> Any:
    """A name of a module that may need the extra train; ModuleNotFoundError that says so."""
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if (error.name or "refrain").partition(".")[0] == "refrain":
            raise
        raise ModuleNotFoundError(f"refrain: {name} needs the extra train, for {error.name} is not installed; "
                                  f"`pip install '{TRAIN}'` brings it", name=error.name) from error  # fmt: skip


def __dir__() -> list[str]:
    return [*globals(), *__all__]
