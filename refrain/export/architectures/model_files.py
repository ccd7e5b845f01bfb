"""config.json and the tensors of a model folder, read field by field and name by name.

Both readers know what was read of them, so that no field with a meaning and no tensor is left out unnoticed.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from refrain.export.architectures.decoder import Array, Linear, Norm

ACTIVATIONS = {
    "silu": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
IGNORED_FIELDS = frozenset(  # what changes neither a logit nor a shape once a model is trained
    """architectures model_type transformers_version dtype torch_dtype use_cache cache_implementation initializer_range
    bos_token_id eos_token_id pad_token_id sep_token_id attention_dropout attn_pdrop embd_pdrop resid_pdrop n_ctx
    pretraining_tp is_llama_config rope_interleaved task_specific_params reorder_and_upcast_attn summary_activation
    summary_first_dropout summary_proj_to_labels summary_type summary_use_proj _sliding_window_pattern
    sliding_window_pattern _name_or_path name_or_path unsloth_fixed transformers.js_config""".split()  # noqa: SIM905
)


class ConfigReader:
    """The fields of a config; it knows which of them were read."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values
        self._read: set[str] = set()

    def take(self, name: str, absent: Any = ...) -> Any:
        """The value of a field, or `absent`; ValueError when there is neither."""
        self._read.add(name)
        value = self._values.get(name, absent)
        if value is ...:
            raise ValueError(f"config.json: {name} is missing")
        return value

    def expect(self, name: str, meaning: Any) -> None:
        """ValueError unless the field is absent or says this."""
        if (value := self.take(name, meaning)) != meaning:
            raise ValueError(f"config.json: {name}={json.dumps(value)} has no place in the compact graph")

    def activation(self, name: str) -> str:
        """The activation that a field names, as the graph calls it."""
        if (value := self.take(name)) not in ACTIVATIONS:
            raise ValueError(f"config.json: {name}={value} is none of {', '.join(ACTIVATIONS)}")
        return ACTIVATIONS[value]

    def windows(self, layers: int) -> list[int | None]:
        """How many tokens each layer sees, the last one included; None for all."""
        width, is_used = self.take("sliding_window", None), self.take("use_sliding_window", True)
        types = self.take("layer_types", None)
        has_window = width is not None and is_used
        if self.take("max_window_layers", None) is not None and types is None and has_window:
            raise ValueError("config.json: max_window_layers without layer_types has no place in the compact graph")
        if types is None:
            types = ["sliding_attention" if has_window else "full_attention"] * layers
        if unknown := set(types) - {"sliding_attention", "full_attention"}:
            raise ValueError(f"config.json: layer_types={', '.join(sorted(unknown))} has no place in the compact graph")
        return [width if layer_type == "sliding_attention" else None for layer_type in types]

    def require_all_read(self) -> None:
        """ValueError naming the fields with a value that nobody read and that may mean something."""
        left = sorted(
            name for name in self._values.keys() - self._read - IGNORED_FIELDS if self._values[name] is not None
        )
        if left:
            raise ValueError(f"config.json: {', '.join(left)} has no meaning in the compact graph")


class TensorReader:
    """Every tensor of a folder's safetensors files by name; it knows which of them were read."""

    def __init__(self, folder: Path) -> None:
        index = folder / "model.safetensors.index.json"
        shards = set(json.loads(index.read_text())["weight_map"].values()) if index.is_file() else {"model.safetensors"}
        self._files = [safe_open(folder / shard, "np") for shard in sorted(shards)]
        self._file_of = {name: file for file in self._files for name in file.keys()}  # noqa: SIM118 - no mapping
        self._read: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._file_of

    def read(self, name: str) -> Array:
        """A tensor in fp32; ValueError when there is none of this name."""
        if name not in self._file_of:
            raise ValueError(f"model.safetensors: it has no {name}, which its config.json promises")
        self._read.add(name)
        return np.asarray(self._file_of[name].get_tensor(name), dtype=np.float32)

    def linear(self, *names: str) -> Linear:
        """Linear layers that read the same input as one; either all of them have a bias or none."""
        has_bias = f"{names[0]}.bias" in self
        return Linear(
            np.concatenate([self.read(f"{name}.weight") for name in names]),
            np.concatenate([self.read(f"{name}.bias") for name in names]) if has_bias else None,
        )

    def norm(self, name: str) -> Norm:
        """A root mean square normalisation."""
        return Norm(self.read(f"{name}.weight"))

    def layer_norm(self, name: str) -> Norm:
        return Norm(self.read(f"{name}.weight"), self.read(f"{name}.bias"))

    def lm_head(self, embedding: Array) -> Linear | None:
        """The head, when it is another matrix than the embedding: its weights tell, config.json may be wrong."""
        if "lm_head.weight" not in self:
            return None
        weight = self.read("lm_head.weight")
        if np.array_equal(weight, embedding):
            return None
        return Linear(weight, self.read("lm_head.bias") if "lm_head.bias" in self else None)

    def require_all_read(self) -> None:
        """ValueError naming the tensors that nobody read."""
        if unread := sorted(self._file_of.keys() - self._read):
            raise ValueError(f"model.safetensors: nothing in the compact graph reads {', '.join(unread[:3])}")
