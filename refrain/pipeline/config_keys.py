"""Keys of the configuration: what the schema knows, and which one was meant by one that it does not."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, cast, get_args, get_origin, get_type_hints

from refrain.pipeline import foreign_names
from refrain.pipeline.schema import Config

NUMBERS = {float: "Float", int: "Integer"}  # with OmegaConf's names
NO_WORDS = {"null", "true", "false", "inf", "nan", "infinity"}  # but values
CUTOFF = 0.7  # likeness of two names, from which one may be the other misspelt


def schema_problems(raw: Any, hint: Any, place: str) -> Iterator[str]:
    """A sentence for each key that the schema does not know, each value in place of a section, each gap."""
    known = fields_of(hint)
    if raw == "???":
        yield missing_value(place)
    elif known and raw is not None and not isinstance(raw, dict):
        section = f"a section with {', '.join(known)}"
        yield f"{place}={raw} is not {section}; options of conf/ are chosen by `python -m stages.compose`"
    elif get_origin(hint) is list and not isinstance(raw, list):
        yield f"{place}={raw} is not a list; write {place}=[...]"
    elif isinstance(raw, list):
        for i, item in enumerate(raw):
            yield from schema_problems(item, element_type(hint), f"{place}[{i}]")
    elif isinstance(raw, dict):
        prefix = f"{place}." if place else ""
        for key, value in raw.items():
            if known and key not in known:
                yield unknown_key(prefix, str(key), known)
            else:
                yield from schema_problems(value, known.get(key, element_type(hint)), f"{prefix}{key}")


def explain_key(key: str) -> str | None:
    """A sentence about a dotted key that the schema does not know; None about any other."""
    place, hint = "", cast(Any, Config)
    for part in key.split("."):
        known = fields_of(hint)
        if known and part not in known:
            return unknown_key(place, key.removeprefix(place), known)
        place, hint = f"{place}{part}.", known.get(part, element_type(hint))
    return None


def explain_word(key: str, word: str) -> str | None:
    """A sentence, OmegaConf's own, about a word where a key that is always there wants a number; None of any other."""
    hint = cast(Any, Config)
    for part in key.split("."):
        hint = fields_of(hint).get(part) if isinstance(hint, type) else None
    wanted = next((name for kind, name in NUMBERS.items() if hint == kind or hint == kind | None), None)
    if wanted is None or word.lower() in NO_WORDS:
        return None
    return f"{key}: value '{word}' of type 'str' could not be converted to {wanted}"


def fields_of(hint: Any) -> dict[str, Any]:
    """The keys of the dataclass in `X` or `X | None`, with their types; none for any other type."""
    kinds = [] if get_origin(hint) in (list, dict) else [hint, *get_args(hint)]
    kind: Any = next(filter(is_dataclass, kinds), None)
    return read_hints(kind) if kind else {}


@cache
def read_hints(kind: Any) -> dict[str, Any]:
    """The types of the fields of a dataclass."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def element_type(hint: Any) -> Any:
    """The type of the elements of `list[X]` or `dict[str, X]`; None for any other type."""
    return get_args(hint)[-1] if get_origin(hint) in (list, dict) else None


def missing_value(place: str) -> str:
    """A sentence about a value that is still missing."""
    return f"{place} has no value yet; give one: -S '{place}=...', or in conf/"


def unknown_key(prefix: str, key: str, known: Iterable[str]) -> str:
    """A sentence about a key that does not exist: what other libraries mean by it, or the nearest that does exist.

    `known` are the keys that the section has; the key may go on below them.
    """
    first, last = key.partition(".")[0], key.rpartition(".")[2]
    explained = foreign_names.explain_name(last) or foreign_names.explain_name(first)
    if explained:
        return f"{prefix}{key} is no key of the configuration; {explained}"
    hint = suggest_key(prefix, first, last, known) or f"known here are {', '.join(known)}"
    return f"{prefix}{first if hint.endswith('?') else key} is no key of the configuration; {hint}"


def suggest_key(prefix: str, first: str, last: str, known: Iterable[str]) -> str | None:
    """The key that was meant: one of this section in another spelling, or one of the same name in another section."""
    if near := difflib.get_close_matches(first, known, n=1, cutoff=CUTOFF):
        return f"did you mean {prefix}{near[0]}?"
    if elsewhere := [key for key in all_keys(Config, "") if key.rpartition(".")[2] == last]:
        return f"did you mean {' or '.join(sorted(elsewhere, key=lambda key: key.count('.')))}?"
    if near := difflib.get_close_matches(last, foreign_names.EXPLANATIONS, n=1, cutoff=CUTOFF):
        return f"did you mean {near[0]}? {foreign_names.EXPLANATIONS[near[0]]}"
    return None


def all_keys(hint: Any, place: str) -> Iterator[str]:
    """Every key of the schema, but those below lists and maps."""
    for name, kind in fields_of(hint).items():
        yield f"{place}{name}"
        yield from all_keys(kind, f"{place}{name}.")
