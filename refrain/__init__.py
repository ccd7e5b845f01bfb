"""Refrain: from raw conversations to a small chat model in ONNX, every step proven."""

import os

__version__ = "0.1.0"

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # from 1.31 on ONNX Runtime reports home unless told not to
