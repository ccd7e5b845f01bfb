"""The body of a request: of each field it is said whether it is honoured, ignored or refused, before anything runs."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
from starlette.requests import Request

from refrain.serving.api.other_fields import ALIASES, IGNORED, NEUTRAL, is_neutral
from refrain.serving.errors import ApiError, invalid_value

DEEPEST = 100  # objects and lists within each other
Group = TypeVar("Group", bound=msgspec.Struct)
TYPE_NAMES = {
    "float": "a number", "int": "a whole number", "str": "a string", "bool": "true or false", "array": "a list",
    "object": "an object", "null": "null",
}  # fmt: skip


@dataclass(frozen=True)
class Body:
    """The fields of a request by the names that are honoured, and the names of those that were ignored."""

    fields: dict[str, Any]
    ignored: list[str]

    def convert(self, group: type[Group]) -> Group:
        """The fields of a group; ApiError 400 for one that is missing or of another type."""
        names = group.__struct_fields__
        return convert({name: value for name, value in self.fields.items() if name in names}, group)

    def headers(self) -> dict[str, str]:
        """What an answer says of the fields without effect."""
        return {"X-Refrain-Ignored": ", ".join(quote(name) for name in self.ignored)} if self.ignored else {}


async def read_body(request: Request, groups: Iterable[type[msgspec.Struct]], is_lenient: bool) -> Body:
    """The fields of these groups; ApiError 400 for any other that could change the answer, unless it is lenient."""
    given = parse_object(await request.body())
    honoured = {name for group in groups for name in group.__struct_fields__}
    fields = rename_aliases(given, honoured)
    others = [name for name in fields if name not in honoured]
    ignored = [name for name in others if name in IGNORED and fields[name] is not None]
    for name in others:
        if name in NEUTRAL:
            if is_neutral(name, fields[name]):
                continue
            if not is_lenient:
                raise ApiError(400, "unsupported", f"{name}: it has no effect here; leave it out", name)
            ignored.append(name)
        elif name not in IGNORED:
            if not is_lenient:
                raise unknown_parameter(name, honoured)
            ignored.append(name)
    return Body({name: fields[name] for name in fields if name in honoured}, ignored)


def parse_object(body: bytes) -> dict[str, Any]:
    """The object that a body is; ApiError 400 where it is something else."""
    try:
        value = msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:  # msgspec's errors, and bytes that are no UTF-8
        raise ApiError(400, "invalid_value", f"the body: it is not JSON ({error}); send an object") from error
    if not isinstance(value, dict):
        raise ApiError(400, "invalid_value", "the body: it is no object of JSON; send one")
    levels, parts = 0, [value]
    while parts := [part for whole in parts for part in list_parts(whole)]:
        levels += 1
        if levels > DEEPEST:
            raise ApiError(400, "invalid_value", f"the body: it is nested deeper than {DEEPEST} levels; make it flat")
    return value


def list_parts(value: Any) -> Iterable[Any]:
    """The objects and lists right within a value."""
    parts = value.values() if isinstance(value, dict) else value
    return [part for part in parts if isinstance(part, dict | list)]


def rename_aliases(given: dict[str, Any], honoured: set[str]) -> dict[str, Any]:
    """The fields with the honoured one in place of each alias; ApiError 400 where the two differ."""
    fields = {name: value for name, value in given.items() if ALIASES.get(name) not in honoured}
    for alias in [name for name in given if name not in fields]:
        name, value = ALIASES[alias], given[alias]
        if value is None:
            continue
        if fields.get(name) is not None and fields[name] != value:
            raise invalid_value(alias, f"{alias}: it says {value!a:.40} and {name} {fields[name]!a:.40}, "
                                "which are one thing; give one of them")  # fmt: skip
        fields[name] = value
    return fields


def unknown_parameter(name: str, honoured: set[str], place: str = "") -> ApiError:
    """400 for a name that stands for nothing, with the one that was probably meant."""
    near = difflib.get_close_matches(name, {*honoured, *ALIASES, *IGNORED, *NEUTRAL}, 1, 0.7)
    way_out = f"did you mean {near[0]}?" if near else "leave it out"
    shown = name if name.isidentifier() else ascii(name[:60])
    return ApiError(400, "unknown_parameter", f"{place}{shown}: there is no such parameter; {way_out}", place + name)


def convert(value: Any, group: type[Group], place: str = "") -> Group:
    """A value as a Struct; ApiError 400 where it is of another type, with the place of what is wrong as `param`."""
    try:
        return msgspec.convert(value, group)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        path = (place + path.rstrip("`").replace("[...]", "")).lstrip(".")
        raise explain_type(what, path, group) from error


def explain_type(what: str, path: str, group: type[msgspec.Struct]) -> ApiError:
    """What msgspec says of a value, as an error of ours."""
    kind, _, rest = what.partition(" `")
    name = rest.rstrip("`")
    inner = f"{path}." if path else ""
    if kind == "Object missing required field":
        return invalid_value(inner + name, f"{inner}{name}: it is missing; give one")
    if kind == "Object contains unknown field":
        return unknown_parameter(name, set(group.__struct_fields__), inner)
    for each, words in TYPE_NAMES.items():
        what = re.sub(rf"\b{each}\b", words, what)
    expected, _, got = what.removeprefix("Expected ").replace("`", "").partition(", got ")
    if not got:
        return invalid_value(path, f"{path}: {what[:1].lower()}{what[1:]}; /openapi.json lists what it may be")
    return invalid_value(path, f"{path}: it must be {expected.replace(' | ', ' or ')}, and is {got}")
