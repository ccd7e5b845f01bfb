"""The tensors of a model folder, read one at a time and counted, so that none is left out unnoticed."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

Array = NDArray[np.float32]


class Weights:
    """Every tensor of a folder's safetensors files by name; it knows which of them were read."""

    def __init__(self, folder: Path) -> None:
        index = folder / "model.safetensors.index.json"
        shards = set(json.loads(index.read_text())["weight_map"].values()) if index.is_file() else {"model.safetensors"}
        self._files = [safe_open(folder / shard, "np") for shard in sorted(shards)]
        self._where = {name: file for file in self._files for name in file.keys()}  # noqa: SIM118 - no mapping
        self._read: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._where

    def read(self, name: str) -> Array:
        """A tensor in fp32; ValueError when there is none of this name."""
        if name not in self._where:
            raise ValueError(f"model.safetensors: it has no {name}, which its config.json promises")
        self._read.add(name)
        return np.asarray(self._where[name].get_tensor(name), dtype=np.float32)

    def end(self) -> None:
        """ValueError naming the weights that nobody asked for."""
        if unread := sorted(self._where.keys() - self._read):
            raise ValueError(f"model.safetensors: nothing in the compact graph reads {', '.join(unread[:3])}")
