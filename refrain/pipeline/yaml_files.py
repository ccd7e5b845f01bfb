"""YAML as OmegaConf and DVC read it, in a twentieth of their time: 1e-4 is a number, and a key stands once."""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, TextIO

import yaml

FLOAT = re.compile(
    r"""^(?:
     [-+]?[0-9]+(?:_[0-9]+)*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+)
    |\.[0-9]+(?:_[0-9]+)*(?:[eE][-+][0-9]+)?
    |[-+]?[0-9]+(?:_[0-9]+)*(?::[0-5]?[0-9])+\.[0-9_]*
    |[-+]?\.(?:inf|Inf|INF)
    |\.(?:nan|NaN|NAN))$""",
    re.VERBOSE,
)  # YAML 1.2's, where PyYAML has those of 1.1
TEXT, DATE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:timestamp"


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's, in C where it is there."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own declaration
        first: [(tag, pattern) for tag, pattern in resolvers if tag != DATE]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """The mapping; a key that stands twice is an error, for one of the two values would be lost."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag == TEXT and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    "while constructing a mapping", node.start_mark, f"found duplicate key {key.value}", key.start_mark
                )
            seen.add(str(key.value))
        return dict(super().construct_mapping(node, deep))


Loader.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789."))


def read_yaml(source: str | TextIO) -> Any:
    """What a text or an open file holds; yaml.YAMLError with the line where that is no YAML."""
    loader = Loader(source)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def read_yaml_file(file: Path) -> Any:
    """The same of a file."""
    with file.open(encoding="utf-8") as stream:
        return read_yaml(stream)
