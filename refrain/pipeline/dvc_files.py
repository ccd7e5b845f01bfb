"""What dvc.yaml and dvc.lock say of the stages, read without DVC, which takes a second to load."""

from pathlib import Path
from typing import Any, cast

from refrain.pipeline import git

PIPELINE, LOCK = Path("dvc.yaml"), Path("dvc.lock")

Lock = dict[str, dict[str, Any]]  # stages of a dvc.lock: cmd, deps, params, outs


def parse_stages(text: str) -> Lock:
    """The stages of a dvc.yaml or dvc.lock."""
    from refrain.pipeline import yaml_files  # a stage that starts loads this module, and reads neither file

    return cast(Lock, yaml_files.read_yaml(text) or {}).get("stages") or {}


def current_lock() -> Lock:
    """The stages that dvc.lock lists now: each as it last succeeded."""
    return parse_stages(LOCK.read_text(encoding="utf-8")) if LOCK.is_file() else {}


def committed_lock() -> Lock:
    """The stages that the dvc.lock of the last commit lists."""
    return parse_stages(git.run_git("show", f"HEAD:./{LOCK}"))


def list_stages() -> dict[str, Any]:
    """The stages of dvc.yaml."""
    return parse_stages(PIPELINE.read_text(encoding="utf-8")) if PIPELINE.is_file() else {}


def list_outputs(stage: dict[str, Any]) -> dict[str, bool]:
    """The outputs of a stage of dvc.yaml, and whether DVC caches them; Git keeps the others."""
    listed = [*stage.get("outs", []), *stage.get("metrics", [])]
    settings = [{out: {}} if isinstance(out, str) else out for out in listed]
    return {path: options.get("cache", True) for out in settings for path, options in out.items()}


def cached_outputs() -> list[str]:
    """The outputs of all stages that DVC caches."""
    return [path for stage in list_stages().values() for path, cached in list_outputs(stage).items() if cached]


def uncached_outputs() -> list[str]:
    """The outputs of all stages that are left to Git."""
    return [path for stage in list_stages().values() for path, cached in list_outputs(stage).items() if not cached]


def output_hashes(lock: Lock) -> dict[str, str]:
    """The md5 of every output, by path."""
    return {out["path"]: out["md5"] for stage in lock.values() for out in stage.get("outs", [])}
