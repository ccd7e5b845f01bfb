"""An exported model, open: ONNX Runtime on the CPU, with the cache kept outside Python's arrays."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime import OrtValue

Ids = NDArray[np.int64]
Logits = NDArray[np.float32]
Cache = list[OrtValue]
TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class Session:
    """A causal language model; it remembers nothing between calls, so one may serve many conversations."""

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        self._session = opened(folder / "model.onnx", threads or cores())
        inputs = {each.name: each for each in self._session.get_inputs()}
        self._positioned = "position_ids" in inputs
        self._past = [name for name in inputs if name.startswith("past_key_values.")]
        self._present = [name.replace("past_key_values", "present") for name in self._past]
        if not self._past:
            raise ValueError(f"{folder}/model.onnx: it takes no past; export it as text-generation-with-past")
        # What the graph says, since a head may be wider than hidden size / heads.
        self._shapes = [(inputs[name].shape[1], inputs[name].shape[3]) for name in self._past]
        self._types = [TYPES[inputs[name].type] for name in self._past]

    def forward(self, ids: Ids, mask: Ids, cache: Cache | None) -> tuple[Logits, Cache]:
        """Logits after each id and the cache for the next call; what decoding.LanguageModel promises."""
        binding = self._session.io_binding()
        binding.bind_cpu_input("input_ids", np.ascontiguousarray(ids))
        binding.bind_cpu_input("attention_mask", np.ascontiguousarray(mask))
        if self._positioned:
            binding.bind_cpu_input("position_ids", positions(mask)[:, -ids.shape[1] :].copy())
        for name, value in zip(self._past, self._empty(len(ids)) if cache is None else cache, strict=True):
            binding.bind_ortvalue_input(name, value)
        for name in ("logits", *self._present):
            binding.bind_output(name, "cpu")
        self._session.run_with_iobinding(binding)
        logits, *present = binding.get_outputs()
        return logits.numpy().astype(np.float32, copy=False), present

    def _empty(self, rows: int) -> Cache:
        """A past of no tokens."""
        return [
            OrtValue.ortvalue_from_numpy(np.zeros((rows, heads, 0, width), dtype))
            for (heads, width), dtype in zip(self._shapes, self._types, strict=True)
        ]


def positions(mask: Ids) -> Ids:
    """The position of each id among those of its row that the mask shows."""
    return (mask.cumsum(axis=1) - 1).clip(0)


def opened(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """The model in a file; ValueError when there is none, or none that runs here."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file; `dvc pull models/onnx` fetches it, `dvc repro` makes it")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors only: they come back as exceptions
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no narrower class
        way_out = f"`refrain check {path.parent}` tells whether it is whole"
        raise ValueError(f"{path}: it does not open ({error}); {way_out}") from error


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def context(folder: Path) -> int:
    """How many tokens the model can see at once, as its config.json says."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    sizes = (config[key] for key in ("max_position_embeddings", "n_positions") if key in config)
    return int(next(sizes, sys.maxsize))  # a model without learned positions may name no end
