"""params.yaml as conf/ plus the overrides of this run: kept when it fits, composed again when conf/ moved on."""

import hashlib
import logging
import os
from typing import Any

from omegaconf import OmegaConf

from refrain import launch, paths

log = logging.getLogger(__name__)

Params = dict[str, Any]


def compose(overrides: list[str]) -> Params:
    """What conf/ and the overrides make."""
    return launch.composed("config", paths.CONF, overrides)


def current() -> Params:
    """What params.yaml should hold now; ValueError when conf/ and params.yaml both hold news."""
    params = read()
    record = params.pop("composed", None)  # absent right after `dvc exp run` composed params.yaml
    plain = compose([])
    if record["conf"] == launch.digest() if record else "DVC_EXP_NAME" in os.environ:
        log.info("params.yaml is conf/ with: %s", " ".join(changes(plain, params)) or "no overrides")
        return params
    if not params or params == plain or (record and not record["overrides"] and not edited_by_hand()):
        log.info("conf/ was edited, params.yaml follows: %s", " ".join(changes(params, plain)) or "nothing changes")
        return plain
    raise ValueError(
        "conf/ was edited, and params.yaml holds values of its own: "
        + " ".join(changes(plain, params))
        + "; compose it again with those you want to keep: `python -m stages.compose key=value ... && dvc repro`,"
        " or `dvc exp run -S key=value`"
    )


def write(params: Params) -> None:
    """params.yaml, with the fingerprint of conf/ and the differences from it on record."""
    launch.typed(params)
    record = {"conf": launch.digest(), "overrides": changes(compose([]), params)}
    paths.PARAMS.write_text(OmegaConf.to_yaml({**params, "composed": record}))


def read() -> Params:
    """params.yaml as plain values; empty when there is none."""
    if not paths.PARAMS.exists():
        return {}
    return dict(OmegaConf.to_container(OmegaConf.load(paths.PARAMS)) or {})  # type: ignore[arg-type]


def edited_by_hand() -> bool:
    """Whether params.yaml is no longer what this stage last wrote."""
    lock = paths.LOCK
    if not lock.exists():
        return False
    outs = OmegaConf.select(OmegaConf.load(lock), "stages.compose.outs") or []
    written = [out.md5 for out in outs if out.path == str(paths.PARAMS)]
    return bool(written) and written[0] != hashlib.md5(paths.PARAMS.read_bytes()).hexdigest()


def changes(old: Params, new: Params) -> list[str]:
    """The leaves of `new` that differ from `old`, as Hydra overrides."""
    a, b = flat(old), flat(new)
    return sorted(f"{key}={b.get(key)}" for key in a | b if a.get(key) != b.get(key))


def flat(node: Any, prefix: str = "") -> Params:
    if not isinstance(node, dict) or (prefix and not node):
        return {prefix[:-1]: node}
    return {key: leaf for name, child in node.items() for key, leaf in flat(child, f"{prefix}{name}.").items()}
