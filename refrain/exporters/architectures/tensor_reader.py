"""The tensors of a model folder, read name by name: one that nobody read is refused."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import safe_open

from refrain.exporters.architectures.decoder import Array, Linear, Norm

BUFFERS = re.compile(r".*(rotary_emb\.inv_freq|\.attn\.bias|\.attention\.bias|\.masked_bias)|h\.\d+\.attn\.bias")


class TensorReader:
    """Every tensor of a folder's safetensors files by name; it knows which of them were read.

    Of headers alone the tensors have their shapes, and zeros in no memory for values.
    """

    def __init__(self, folder: Path, headers_only: bool = False) -> None:
        self._headers_only = headers_only
        index = folder / "model.safetensors.index.json"
        shards = set(json.loads(index.read_text())["weight_map"].values()) if index.is_file() else {"model.safetensors"}
        self._files = [safe_open(folder / shard, "np") for shard in sorted(shards)]
        self._file_of = {name: file for file in self._files for name in file.keys()}  # noqa: SIM118 - no mapping
        self._read: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return self._stored_name(name) in self._file_of

    def _stored_name(self, name: str) -> str:
        """A body saved without its head has no first part in its names, `model.` or `transformer.`."""
        without_part = name.partition(".")[2]
        return without_part if name not in self._file_of and without_part in self._file_of else name

    def read(self, name: str) -> Array:
        """A tensor in fp32; ValueError when there is none of this name."""
        if (name := self._stored_name(name)) not in self._file_of:
            raise ValueError(f"model.safetensors: it has no {name}, which its config.json promises")
        self._read.add(name)
        if self._headers_only:
            return zeros(self._file_of[name].get_slice(name).get_shape())
        return np.asarray(self._file_of[name].get_tensor(name), dtype=np.float32)

    def read_stacked(self, names: Sequence[str]) -> Array:
        """Tensors one below the other."""
        parts = [self.read(name) for name in names]
        if self._headers_only:
            return zeros([sum(len(part) for part in parts), *parts[0].shape[1:]])
        return np.concatenate(parts)

    def linear(self, *names: str) -> Linear:
        """Linear layers that read the same input as one; either all of them have a bias or none."""
        has_bias = f"{names[0]}.bias" in self
        return Linear(
            self.read_stacked([f"{name}.weight" for name in names]),
            self.read_stacked([f"{name}.bias" for name in names]) if has_bias else None,
        )

    def norm(self, name: str) -> Norm:
        """A layer normalisation where there is a bias, else a root mean square normalisation."""
        return Norm(self.read(f"{name}.weight"), self.read(f"{name}.bias") if f"{name}.bias" in self else None)

    def lm_head(self, embedding: Array, is_tied: bool, name: str = "lm_head") -> Linear | None:
        """The head, when it is another matrix than the embedding: its weights tell, where config.json is wrong."""
        bias = self.read(f"{name}.bias") if f"{name}.bias" in self else None
        if f"{name}.weight" not in self and is_tied:
            return None if bias is None else Linear(embedding, bias)
        weight = self.read(f"{name}.weight")
        if bias is None and not self._headers_only and np.array_equal(weight, embedding):
            return None
        return Linear(weight, bias)

    def require_all_read(self) -> None:
        """ValueError naming the tensors that nobody read."""
        if unread := sorted(name for name in self._file_of.keys() - self._read if not BUFFERS.fullmatch(name)):
            raise ValueError(f"model.safetensors: nothing in the compact graph reads {', '.join(unread[:3])}")


def zeros(shape: Sequence[int]) -> Array:
    """An array of a shape that takes no memory."""
    return np.broadcast_to(np.float32(0), shape)
