"""The tensors of a model folder, read one at a time and counted, so that none is left out unnoticed.

A config.json, read field by field, so that none with a meaning is passed over.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

Array = NDArray[np.float32]


class TensorReader:
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

    def require_all_read(self) -> None:
        """ValueError naming the weights that nobody asked for."""
        if unread := sorted(self._where.keys() - self._read):
            raise ValueError(f"model.safetensors: nothing in the compact graph reads {', '.join(unread[:3])}")


IGNORED_FIELDS = frozenset(  # what changes neither a logit nor a shape once a model is trained
    """architectures model_type transformers_version dtype torch_dtype use_cache cache_implementation initializer_range
    bos_token_id eos_token_id pad_token_id sep_token_id attention_dropout attn_pdrop embd_pdrop resid_pdrop n_ctx
    pretraining_tp is_llama_config rope_interleaved task_specific_params reorder_and_upcast_attn summary_activation
    summary_first_dropout summary_proj_to_labels summary_type summary_use_proj _sliding_window_pattern
    sliding_window_pattern _name_or_path name_or_path unsloth_fixed transformers.js_config""".split()  # noqa: SIM905
)


class ConfigReader:
    """The fields of a config; it knows which ones were taken."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values
        self._taken: set[str] = set()

    def take(self, name: str, absent: Any = ...) -> Any:
        """The value of a field, or `absent`; ValueError when there is neither."""
        self._taken.add(name)
        value = self._values.get(name, absent)
        if value is ...:
            raise ValueError(f"config.json: {name} is missing")
        return value

    def expect(self, name: str, meaning: Any) -> None:
        """ValueError unless the field is absent or says this."""
        if (value := self.take(name, meaning)) != meaning:
            raise ValueError(f"config.json: {name}={json.dumps(value)} has no place in the compact graph")

    def require_all_read(self) -> None:
        """ValueError naming the fields with a value that nobody took and that may mean something."""
        left = sorted(
            name for name in self._values.keys() - self._taken - IGNORED_FIELDS if self._values[name] is not None
        )
        if left:
            raise ValueError(f"config.json: {', '.join(left)} has no meaning in the compact graph")
