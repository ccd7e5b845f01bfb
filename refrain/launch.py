"""How a stage starts: params.yaml, values of the command line on top, checked before anything heavy loads."""

import argparse
import difflib
import hashlib
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from refrain import paths
from refrain.config import Config, impossible

log = logging.getLogger(__name__)


def run(main: Callable[[Config], None]) -> None:
    """Run a stage on params.yaml with the overrides of the command line."""
    start(lambda overrides: main(load(overrides)), sys.modules[main.__module__].__doc__ or "")


def start(main: Callable[[list[str]], None], document: str) -> None:
    """Parse the command line; a ValueError or OSError of the input becomes one line and exit code 1."""
    parser = argparse.ArgumentParser(
        prog=f"python -m stages.{Path(sys.argv[0]).stem}",
        description=document,
        epilog="Values come from params.yaml; any of them can be overridden: train.lr=1e-3 data.val_fraction=0.2",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="a value in place of params.yaml's")
    parser.add_argument("--quiet", action="store_true", help="warnings and errors only")
    options = parser.parse_args()
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("refrain").setLevel(logging.WARNING if options.quiet else logging.INFO)
    try:
        main(options.overrides)
    except (ValueError, OSError) as error:
        log.debug("where it happened", exc_info=True)
        sys.exit(f"{Path(sys.argv[0]).stem}: {error}")


def load(overrides: list[str]) -> Config:
    """params.yaml under the schema, overrides on top; ValueError names the key and the nearest right one."""
    if not paths.PARAMS.exists():
        raise ValueError("params.yaml is missing; `python -m stages.compose` writes it from conf/")
    raw = composed("params", Path.cwd(), overrides)
    record = raw.get("composed")
    if record and record.get("conf") != digest():
        raise ValueError("conf/ was edited after params.yaml was composed; run `dvc repro` or `python -m stages.compose`")
    return typed(raw)


def composed(name: str, folder: Path, overrides: list[str]) -> dict[str, Any]:
    """What Hydra makes of folder/name.yaml and the overrides, the same call that `dvc exp run -S` makes."""
    try:
        with initialize_config_dir(str(folder.absolute()), version_base="1.3"):
            plain = OmegaConf.to_container(compose(name, overrides=overrides), resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(misspelt(overrides) or " ".join(str(error).split("\n")[:2])) from error
    return cast(dict[str, Any], plain)


def misspelt(overrides: list[str]) -> str | None:
    """A sentence about the first override whose key the schema does not know."""
    for override in OverridesParser.create().parse_overrides(overrides):
        node: Any = Config
        for part in str(override.key_or_group).split("."):
            if not is_dataclass(node):
                break
            known = {f.name: get_type_hints(node)[f.name] for f in fields(node)}
            if part not in known:
                return unknown(str(override.key_or_group), part, list(known))
            node = dataclass_of(known[part])
    return None


def digest() -> str:
    """Fingerprint of conf/: every file's path and bytes."""
    result = hashlib.sha256()
    for file in sorted(paths.CONF.rglob("*.yaml")):
        result.update(f"{file.relative_to(paths.CONF).as_posix()}\0".encode() + file.read_bytes() + b"\0")
    return result.hexdigest()[:12]


def typed(raw: dict[str, Any]) -> Config:
    """Plain dataclasses from plain values; an unknown key, a wrong type, a gap, an impossible value: ValueError."""
    for sentence in strangers(raw, Config, ""):
        raise ValueError(sentence)
    try:
        merged = OmegaConf.merge(OmegaConf.structured(Config), raw)
        cfg = cast(Config, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        reason = str(error).split("\n")[0]
        raise ValueError(f"{error.full_key or 'params.yaml'}: {reason[:1].lower()}{reason[1:]}") from error
    for sentence in impossible(cfg):
        raise ValueError(sentence)
    return cfg


def strangers(raw: Any, kind: Any, prefix: str) -> Iterator[str]:
    """A sentence for each key that the schema does not know, and for each value that is still missing."""
    if isinstance(raw, list):
        for i, item in enumerate(raw):
            yield from strangers(item, kind, f"{prefix[:-1]}[{i}].")
    if raw == "???":
        yield f"{prefix[:-1]} has no value yet; give one: -S '{prefix[:-1]}=...', or in conf/"
    if not isinstance(raw, dict) or kind is None:
        return
    if not is_dataclass(kind):
        return
    known = {f.name: get_type_hints(kind)[f.name] for f in fields(kind)}
    for key, value in raw.items():
        if key not in known:
            yield unknown(f"{prefix}{key}", key, list(known))
        elif get_args(known[key])[:1] == (str,) and isinstance(value, dict):
            for name, item in value.items():
                yield from strangers(item, dataclass_of(known[key]), f"{prefix}{key}.{name}.")
        else:
            yield from strangers(value, dataclass_of(known[key]), f"{prefix}{key}.")


def dataclass_of(hint: Any) -> Any:
    """The dataclass inside `X`, `X | None`, `list[X]` or `dict[str, X]`, else None."""
    return next((kind for kind in (hint, *get_args(hint)) if is_dataclass(kind)), None)


def unknown(path: str, key: str, known: list[str]) -> str:
    """A sentence about a key that does not exist, with the nearest that does."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
    hint = f"did you mean {path.removesuffix(key)}{near[0]}?" if near else f"known here are {', '.join(known)}"
    return f"{path} is no key of the configuration; {hint}"
