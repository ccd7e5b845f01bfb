"""What decides how sums are rounded: the processor and the libraries."""

from importlib.metadata import version
from typing import Any

import torch

LIBRARIES = ("torch", "transformers", "peft", "optimum", "onnx", "onnxruntime")


def facts() -> dict[str, Any]:
    """The processor only as coarsely as rounding needs, so that equal ones agree; the version of each library."""
    return {
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "versions": {name: version(name) for name in LIBRARIES},
    }
