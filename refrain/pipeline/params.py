"""How a stage starts: params.yaml, values of the command line on top, checked before anything heavy loads."""

import difflib
import hashlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, cast, get_args, get_origin, get_type_hints

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from yaml import YAMLError

from refrain.pipeline import foreign_names, old_names, paths
from refrain.pipeline.schema import Config
from refrain.pipeline.validation import problems

log = logging.getLogger(__name__)


CUTOFF = 0.7  # likeness of two names, from which one may be the other misspelt


def load(overrides: list[str]) -> Config:
    """params.yaml under the schema, overrides on top; ValueError names the key and the nearest right one."""
    if not paths.PARAMS.exists():
        raise ValueError("params.yaml is missing; `python -m stages.compose` writes it from conf/")
    raw = compose_with_hydra("params", Path.cwd(), overrides)
    record = raw.get("composed")
    if record and record.get("conf") != conf_digest():
        raise ValueError("conf/ is newer than params.yaml; run `dvc repro` or `python -m stages.compose`")
    return to_config(raw)


def compose_with_hydra(name: str, folder: Path, overrides: list[str]) -> dict[str, Any]:
    """What Hydra makes of folder/name.yaml and the overrides, the same call that `dvc exp run -S` makes."""
    overrides = [old_names.rename_override(override) for override in overrides]
    try:
        with initialize_config_dir(str(folder.absolute()), version_base="1.3"):
            plain = OmegaConf.to_container(compose(name, overrides=overrides), resolve=True)
    except OverrideParseException as error:
        raise ValueError(f"{error.override} cannot be read; write key=value, with quotes around a text") from error
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        reason = " ".join(line.strip() for line in str(error).split("\n")[:2])
        raise ValueError(suggest_override(overrides, folder) or reason) from error
    return old_names.upgrade(cast(dict[str, Any], plain))


def suggest_override(overrides: list[str], folder: Path) -> str | None:
    """A sentence about the first override whose option `folder` lacks, or whose key the schema does not know."""
    for override in OverridesParser.create().parse_overrides(overrides):
        key = str(override.key_or_group)
        options = sorted(file.stem for file in (folder / key).glob("*.yaml"))
        if options and not {*chosen_options(override)} <= {*options, "None"}:
            today = [name for name in options if (key, name) not in old_names.OPTIONS]
            return f"{override.input_line}: {folder}/{key} has {', '.join(today)}"
        if options or key.startswith("hydra."):
            continue
        place, hint = "", cast(Any, Config)
        for part in key.split("."):
            known = fields_of(hint)
            if known and part not in known:
                return unknown_key(place, key.removeprefix(place), known)
            place, hint = f"{place}{part}.", known.get(part, element_type(hint))
    return None


def chosen_options(override: Override) -> list[str]:
    """The options that an override asks for, several in a sweep; None for none."""
    return list(override.sweep_string_iterator()) if override.is_sweep_override() else [str(override.value())]


def conf_digest() -> str:
    """Fingerprint of conf/: the path and bytes of every file but the server's."""
    result = hashlib.sha256()
    for file in sorted({*paths.CONF.rglob("*.yaml")} - {paths.SERVE}):
        result.update(f"{file.relative_to(paths.CONF).as_posix()}\0".encode() + file.read_bytes() + b"\0")
    return result.hexdigest()[:12]


def to_config(raw: dict[str, Any]) -> Config:
    """Plain dataclasses from plain values; an unknown key, a wrong type, a gap, an impossible value: ValueError."""
    for sentence in schema_problems(raw, Config, ""):
        raise ValueError(sentence)
    try:
        merged = OmegaConf.merge(OmegaConf.structured(Config), raw)
        cfg = cast(Config, OmegaConf.to_object(merged))
    except MissingMandatoryValue as error:
        raise ValueError(missing_value(str(error.full_key))) from error
    except OmegaConfBaseException as error:
        reason = str(error).split("\n")[0]
        raise ValueError(f"{error.full_key or 'params.yaml'}: {reason[:1].lower()}{reason[1:]}") from error
    for sentence in problems(cfg):
        raise ValueError(sentence)
    return cfg


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


def fields_of(hint: Any) -> dict[str, Any]:
    """The keys of the dataclass in `X` or `X | None`, with their types; none for any other type."""
    kinds = [] if get_origin(hint) in (list, dict) else [hint, *get_args(hint)]
    kind = next(filter(is_dataclass, kinds), None)
    return {f.name: get_type_hints(kind)[f.name] for f in fields(kind)} if kind else {}


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
