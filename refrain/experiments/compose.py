"""What the compose stage makes: params.yaml, which is conf/ plus the overrides of this run.

It is kept when it fits, and composed again when conf/ moved on.
"""

import hashlib
import json
import logging
import os
import shlex
from typing import Any

from omegaconf import OmegaConf

from refrain.experiments.override_values import to_hydra
from refrain.pipeline import paths
from refrain.pipeline.params import compose_with_hydra, conf_digest, read_params

log = logging.getLogger(__name__)

Params = dict[str, Any]
DROP = "rm params.yaml && dvc repro"
MAX_SHOWN = 200  # characters of an override; a chat template has more


def compose_params(overrides: list[str]) -> Params:
    """What conf/ and the overrides make."""
    return compose_with_hydra("config", paths.CONF, overrides)


def current_params() -> Params:
    """What params.yaml should hold now; ValueError when conf/ and params.yaml both hold news."""
    params = read_params() if paths.PARAMS.exists() else {}
    record = params.pop("composed", None)  # absent right after `dvc exp run` composed params.yaml
    defaults = compose_params([])
    if not params or (params == defaults and record is None):
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
    raise ValueError(explain_conflict(record, defaults, params))


def explain_conflict(record: Params | None, defaults: Params, params: Params) -> str:
    """Why params.yaml is neither kept nor composed anew: which of its values are a person's, if that is known."""
    differences = shlex.join(overrides_between(defaults, params))
    if record is None:
        return ("params.yaml was left by a run that stopped, or comes from elsewhere, and differs from conf/: "
                f"{differences}; keep that: `{recompose(differences)}`, or drop it: `{DROP}`")  # fmt: skip
    if record["params"] == fingerprint(params):
        own = shlex.join(record["overrides"])
        return (f"conf/ was edited, and params.yaml holds values of its own: {own}; "
                f"keep them: `{recompose(own)}`, or drop them: `{DROP}`")  # fmt: skip
    return (f"conf/ and params.yaml were both edited; where they differ, params.yaml says {differences}, some of which "
            "may be what conf/ said before; compose it again with those you want to keep: "
            f"`{recompose('key=value ...')}`")  # fmt: skip


def recompose(overrides: str) -> str:
    return f"python -m stages.compose {overrides} && dvc repro"


def log_written(overrides: list[str]) -> None:
    shown = [shlex.quote(override) if len(override) <= MAX_SHOWN else shorten(override) for override in overrides]
    log.info("wrote params.yaml (%s)", f"overrides: {' '.join(shown)}" if overrides else "defaults")


def shorten(override: str) -> str:
    """The key of an override, and how long a text its value is, which params.yaml has."""
    key, _, value = override.partition("=")
    return f"{key}=... ({len(value):,} characters)"


def write_params(params: Params) -> None:
    """params.yaml, with the fingerprint of conf/ and the differences from it on record."""
    record = {
        "conf": conf_digest(),
        "params": fingerprint(params),
        "overrides": overrides_between(compose_params([]), params),
    }
    paths.PARAMS.write_text(OmegaConf.to_yaml({**params, "composed": record}))


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
