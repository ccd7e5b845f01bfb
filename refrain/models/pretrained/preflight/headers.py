"""What safetensors files say of their tensors before the first value: names, shapes, types."""

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open


@dataclass(frozen=True)
class TensorHeader:
    file: str
    dtype: str  # as safetensors calls it: F32, BF16, F8_E4M3 ...
    shape: tuple[int, ...]


def read_headers(folder: Path) -> dict[str, TensorHeader]:
    """The tensors that transformers would load, by name."""
    headers = {}
    for file in weight_files(folder):
        with safe_open(folder / file, "numpy") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - no mapping
                part = tensors.get_slice(name)
                headers[name] = TensorHeader(file, part.get_dtype(), tuple(part.get_shape()))
    return headers


def weight_files(folder: Path) -> list[str]:
    """model.safetensors, or else the shards of its index."""
    if (folder / "model.safetensors").is_file():
        return ["model.safetensors"]
    index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
    return sorted(set(index["weight_map"].values()))
