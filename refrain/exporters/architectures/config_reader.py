"""config.json, read field by field: what nobody read, and what may mean something, is refused by name."""

import json
from typing import Any

from refrain.exporters.architectures.ignored_fields import is_ignored

ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "relu2": "relu2",
}


class ConfigReader:
    """The fields of a config; it knows which of them were read."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values
        self._read: set[str] = set()
        self._defaults: dict[str, Any] = {}

    def assume(self, **defaults: Any) -> None:
        """What a family's config means by fields that it leaves out."""
        self._defaults |= defaults

    def assumes(self, name: str) -> bool:
        """Whether a family knows a field, and so has a value for it that may be left out."""
        return name in self._defaults

    def states(self, name: str) -> bool:
        """Whether a field is there, be it null."""
        return name in self._values

    def take(self, name: str, absent: Any = ...) -> Any:
        """The value of a field, what its family assumes, or `absent`; ValueError when there is none of them."""
        self._read.add(name)
        value = self._values.get(name, self._defaults.get(name, absent))
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

    def require_all_read(self) -> None:
        """ValueError naming the fields with a value that nobody read and that may mean something."""
        left = sorted(
            name for name in self._values.keys() - self._read if self._values[name] is not None and not is_ignored(name)
        )
        if left:
            raise ValueError(f"config.json: {', '.join(left)} has no meaning in the compact graph")
