"""The headers of safetensors files: names, types and shapes of all tensors, without one of their values.

A file begins with the length of its header, eight bytes, and the header is JSON; so no library is needed to read it.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_HEADER_BYTES = 100_000_000  # what the safetensors library reads at most
WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


@dataclass(frozen=True)
class TensorHeader:
    dtype: str  # in the format's words: F32, BF16, ...
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def read_header(path: Path) -> dict[str, Any]:
    """The header of one file as it stands there; ValueError when there is none."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(length) if 0 < length <= MAX_HEADER_BYTES else b""
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: it is cut short or not safetensors; fetch it again") from error
    if not isinstance(header, dict):
        raise ValueError(f"{path}: it is cut short or not safetensors; fetch it again")
    return header


def read_headers(files: Iterable[Path]) -> dict[str, TensorHeader]:
    """Every tensor in some files by name."""
    return {
        name: TensorHeader(str(entry["dtype"]), tuple(entry["shape"]))
        for file in files
        for name, entry in read_header(file).items()
        if name != "__metadata__"
    }


def write_empty_weights(path: Path, header: dict[str, Any]) -> None:
    """A file with this header and no values: a hole that takes no room, as long as the weights would be."""
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # as the library aligns it
    end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
