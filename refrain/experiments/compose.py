"""What the compose stage makes: params.yaml, and links to the files that it names.

params.yaml is conf/ plus the overrides of this run: kept when it fits, composed again when conf/ moved on. The files
that the pipeline reads from anywhere are linked to one place, so that DVC sees their content.
"""

import hashlib
import json
import logging
import os
import re
import shlex
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import OmegaConf

from refrain.pipeline import paths
from refrain.pipeline.params import compose_with_hydra, conf_digest
from refrain.pipeline.paths import locate
from refrain.pipeline.schema import DataConfig, ModelConfig

log = logging.getLogger(__name__)

Params = dict[str, Any]

PLAIN = re.compile(r"(?!\.\d)[A-Za-z_/.][\w/.-]*", re.ASCII)  # text that needs no quotes, unless it is one of KEYWORDS
KEYWORDS = ("null", "true", "false", "nan", "inf")


def compose_params(overrides: list[str]) -> Params:
    """What conf/ and the overrides make."""
    return compose_with_hydra("config", paths.CONF, overrides)


def current_params() -> Params:
    """What params.yaml should hold now; ValueError when conf/ and params.yaml both hold news."""
    params = read_params()
    record = params.pop("composed", None)  # absent right after `dvc exp run` composed params.yaml
    defaults = compose_params([])
    if not params:
        log_written([])
        return defaults
    if record["conf"] == conf_digest() if record else "DVC_EXP_NAME" in os.environ:
        log_written(overrides_between(defaults, params))
        return params
    if params == defaults or (record and not record["overrides"] and record["params"] == fingerprint(params)):
        log.info(
            "conf/ was edited, params.yaml follows: %s",
            shlex.join(overrides_between(params, defaults)) or "nothing changes",
        )
        return defaults
    raise ValueError(
        "conf/ was edited, and params.yaml holds values of its own: "
        + shlex.join(overrides_between(defaults, params))
        + "; compose it again with those you want to keep: `python -m stages.compose key=value ... && dvc repro`,"
        " or `dvc exp run -S key=value`"
    )


def log_written(overrides: list[str]) -> None:
    log.info("wrote params.yaml (%s)", f"overrides: {shlex.join(overrides)}" if overrides else "defaults")


def write_params(params: Params) -> None:
    """params.yaml, with the fingerprint of conf/ and the differences from it on record."""
    record = {
        "conf": conf_digest(),
        "params": fingerprint(params),
        "overrides": overrides_between(compose_params([]), params),
    }
    paths.PARAMS.write_text(OmegaConf.to_yaml({**params, "composed": record}))


def read_params() -> Params:
    """params.yaml as plain values; empty when there is none."""
    return compose_with_hydra("params", Path.cwd(), []) if paths.PARAMS.exists() else {}


def fingerprint(params: Params) -> str:
    """Tells whether the values of params.yaml are still those that `write_params` wrote."""
    return hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()[:12]


def overrides_between(old: Params, new: Params, place: str = "") -> list[str]:
    """Hydra overrides that turn `old` into `new`."""
    result = []
    for key in sorted(old | new):
        path = f"{place}{key}"
        if key not in new:
            result.append(f"~{path}")
        elif isinstance(old.get(key), dict) and isinstance(new[key], dict):
            result += overrides_between(old[key], new[key], f"{path}.")
        elif key not in old or old[key] != new[key]:
            result.append(f"{'' if key in old else '+'}{path}={to_hydra(new[key])}")
    return result


def to_hydra(value: Any) -> str:
    """A value as Hydra's command line reads it."""
    if isinstance(value, list):
        return f"[{','.join(map(to_hydra, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{to_hydra(item)}' for key, item in value.items())}}}"
    if isinstance(value, str):
        plain = PLAIN.fullmatch(value) and value.lower() not in KEYWORDS
        return value if plain else QuotedString(value, Quote.double).with_quotes()
    return "null" if value is None else str(value)


def link_inputs(data: DataConfig, model: ModelConfig) -> None:
    """Rebuild data/linked and models/linked: one symbolic link for each file that prepare and base read."""
    paths.make_empty(paths.LINKED_DATA)
    for index, source in enumerate(data.sources):
        file = Path(data.folder, Path(source.path).expanduser())
        link_to(paths.linked_source(index, source.path), locate(str(file), f"data.sources[{index}].path"))
    paths.make_empty(paths.LINKED_MODEL)
    if model.tiny is not None:
        link_to(paths.LINKED_MODEL / "corpus.txt", locate(model.tiny.corpus, "model.tiny.corpus"))
    if model.folder is not None:
        for file in sorted(locate(model.folder, "model.folder", folder=True).iterdir()):
            link_to(paths.LINKED_MODEL / file.name, file.resolve())


def link_to(link: Path, file: Path) -> None:
    """Link to a file; relative within the repository, so that one that was copied does not read the other's data."""
    link.symlink_to(os.path.relpath(file, link.parent) if file.is_relative_to(Path.cwd()) else file)
