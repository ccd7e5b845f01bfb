"""What safetensors files say of their tensors before the first value: names, shapes, types.

A file begins with the length of its header, eight bytes, and the header is JSON; so no library is needed to read it.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
METADATA = "__metadata__"  # the one entry of a header that is no tensor
MAX_BYTES = 100_000_000  # of a header, as the library has it


@dataclass(frozen=True)
class TensorHeader:
    file: str
    dtype: str  # as safetensors calls it: F32, BF16, F8_E4M3 ...
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def read_headers(folder: Path) -> dict[str, TensorHeader]:
    """The tensors that transformers would load, by name; ValueError where two files hold one."""
    headers: dict[str, TensorHeader] = {}
    weight_map = read_weight_map(folder)
    for file in weight_files(folder):
        for name, entry in read_header(folder / file).items():
            if weight_map is not None and name not in weight_map:
                continue  # transformers takes it for missing
            if name in headers:
                raise ValueError(
                    f"{folder / file}: it and {headers[name].file} both hold the tensor {name!r}, and nothing says "
                    "which of them counts; keep the shards of one export"
                )
            if name != METADATA:
                headers[name] = TensorHeader(file, str(entry["dtype"]), tuple(entry["shape"]))
    return headers


def weight_files(folder: Path) -> list[str]:
    """model.safetensors, or else the shards of its index."""
    weight_map = read_weight_map(folder)
    return [WEIGHTS] if weight_map is None else sorted(set(weight_map.values()))


def read_weight_map(folder: Path) -> dict[str, str] | None:
    """The shard of each tensor by the index; None where one file holds them all."""
    if (folder / WEIGHTS).is_file():
        return None
    weight_map: dict[str, str] = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
    return weight_map


def read_header(path: Path) -> dict[str, Any]:
    """The header of one file as it stands there; ValueError when there is none."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(length) if 0 < length <= MAX_BYTES else b""
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise ValueError(f"{path}: it is cut short or not safetensors; fetch it again")
    return header


def write_without_values(path: Path, header: dict[str, Any]) -> None:
    """A file with this header whose values are a hole, which reads as zeros and takes no space."""
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # as the library aligns it
    end = max((entry["data_offsets"][1] for name, entry in header.items() if name != METADATA), default=0)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
