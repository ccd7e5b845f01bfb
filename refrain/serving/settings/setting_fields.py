"""Each setting by its path, such as log.format: its type in words, its default, what it is for."""

import difflib
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union

import msgspec

from refrain.serving.settings.schema import ServeSettings

WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}
BOUNDS = {"ge": "from", "gt": "above", "le": "up to", "lt": "below"}


@dataclass(frozen=True)
class SettingField:
    """One value that can be set."""

    path: str
    type: Any
    default: Any
    help: str
    needs_restart: bool
    is_secret: bool
    is_path: bool  # of a file or folder, or several

    def show(self, value: Any) -> str:
        """The value as it is written, but for a secret one."""
        if self.is_secret and value is not None:
            return "(hidden)"
        return value if isinstance(value, str) and value else msgspec.json.encode(value).decode()


@cache
def list_fields(section: Any = ServeSettings, prefix: str = "") -> dict[str, SettingField]:
    """All settings, those of sections as section.name."""
    fields, hints = {}, typing.get_type_hints(section, include_extras=True)
    for field in msgspec.structs.fields(section):
        hint, path = hints[field.name], prefix + field.name
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            fields.update(list_fields(hint, f"{path}."))
            continue
        meta = next(meta for meta in reversed(hint.__metadata__) if meta.description)
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        extra = meta.extra or {}
        fields[path] = SettingField(
            path, hint, default, meta.description, extra["restart"], extra["secret"], extra["path"]
        )
    return fields


def describe_type(hint: Any) -> str:
    """What a value must be, in words: a whole number from 0 up to 65535."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        metas = [meta for meta in arguments[1:] if isinstance(meta, msgspec.Meta)]
        bounds = [f"{word} {getattr(m, key)}" for m in metas for key, word in BOUNDS.items()
                  if getattr(m, key) is not None]  # fmt: skip
        return " ".join([describe_type(arguments[0]), *bounds])
    if origin is Literal:
        return f"one of {', '.join(arguments)}"
    if origin in (Union, types.UnionType):
        return " or ".join(map(describe_type, arguments))
    if origin is list:
        return f"a list, each {describe_type(arguments[0])}"
    if origin is dict:
        return f"NAME: VALUE pairs, each value {describe_type(arguments[1])}"
    return WORDS[hint]


def base_type(hint: Any) -> Any:
    """The type without limits and without None: int, str, bool, list, dict."""
    while typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) in (Union, types.UnionType):
        return base_type(next(kind for kind in typing.get_args(hint) if kind is not type(None)))
    return typing.get_origin(hint) or hint


def near_path(path: str, known: Iterable[str]) -> str | None:
    """The setting that was probably meant: of a name like it, or of its last name in another section."""
    known = list(known)
    elsewhere = [other for other in known if other.rpartition(".")[2] == path.rpartition(".")[2]]
    like = difflib.get_close_matches(path.replace(".", "_"), [other.replace(".", "_") for other in known], n=1)
    return next(iter(elsewhere + [other for other in known if other.replace(".", "_") in like]), None)
