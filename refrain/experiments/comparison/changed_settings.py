"""What two runs were made of: the values and inputs that differ between them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from refrain.experiments.comparison.runs import Run
from refrain.pipeline import dvc_files, paths

INPUTS = (paths.BASE, paths.PREPARED)  # what a training reads
Value = str | int | float | bool | list[Any] | None


@dataclass(frozen=True)
class Change:
    key: str
    baseline: Value
    candidate: Value


def list_changes(candidate: Run, baseline: Run) -> list[Change]:
    """Each value of params.yaml that differs."""
    before, after = read_values(baseline), read_values(candidate)
    keys = dict.fromkeys([*before, *after])
    changed = (Change(key, before.get(key), after.get(key)) for key in keys)
    return [change for change in changed if change.baseline != change.candidate]


def list_changed_inputs(candidate: Run, baseline: Run) -> list[str]:
    """Each folder that a training read and that differs."""
    before, after = (dvc_files.output_hashes(run.lock) for run in (baseline, candidate))
    return [str(path) for path in INPUTS if before.get(str(path)) != after.get(str(path))]


def read_values(run: Run) -> dict[str, Value]:
    """The values of the params.yaml of a run by dotted key, but for what compose writes of itself."""
    params = OmegaConf.to_container(OmegaConf.create(run.read_params() or "{}"))
    flat = flatten(params)
    return {key: value for key, value in flat if key.partition(".")[0] != "composed"}


def flatten(node: Any, prefix: str = "") -> Iterator[tuple[str, Value]]:
    """Dotted keys and their values, at any depth; a list is one value."""
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
