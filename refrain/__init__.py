"""Refrain: from raw conversations to a small chat model in ONNX, every step proven.

`refrain.load(folder)` opens an exported model, without PyTorch.
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refrain.generation.model import load

__version__ = "0.1.0"
__all__ = ["load"]
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # from 1.31 on ONNX Runtime reports home unless told not to
# Threads that wait for work keep their cores busy, by default for so long that a training beside another program takes
# ten times as long. Read by OpenMP's libraries, of GNU and of LLVM and Intel, when PyTorch loads them.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    os.environ.setdefault("KMP_BLOCKTIME", "1")


def __getattr__(name: str) -> Any:
    if name != "load":  # opening a model needs ONNX Runtime, for which nothing else should wait
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from refrain.generation.model import load

    return load
