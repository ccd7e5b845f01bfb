"""Whether a rebuilt commit has the bytes that it recorded, and if not, which stage differs first and why."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refrain.experiments import rebuild, text_tables
from refrain.pipeline import dvc_files, manifest, revisions
from refrain.pipeline.plurals import format_count


@dataclass
class OutputComparison:
    """One output of one stage, then and now."""

    stage: str
    path: str
    recorded: str  # md5, as dvc.lock has it
    rebuilt: str | None  # null: the rerun did not come so far
    sha256: str  # of what was rebuilt; empty where nothing was

    @property
    def is_same(self) -> bool:
        return self.rebuilt == self.recorded

    @property
    def verdict(self) -> str:
        return "not rebuilt" if self.rebuilt is None else "same" if self.is_same else "differs"


def verification_report(commit: str, recorded: dvc_files.Lock, folder: Path) -> tuple[str, bool]:
    """What a rebuild of a commit in `folder` shows, and whether every output has the bytes that were recorded."""
    rebuilt = rebuild.finished_stages(folder)
    outputs = compare_outputs(recorded, rebuilt, folder)
    table = outputs_table(outputs)
    if all(output.is_same for output in outputs):
        return f"{table}\n\nthe same bytes as {commit[:12]} recorded", True
    from refrain.experiments import drift  # loads torch

    moved = drift.drift_report(commit, recorded, rebuilt, folder)
    why = first_difference(outputs, recorded, rebuilt, folder)
    return "\n".join([table, "", *differing_files(outputs, folder), moved, "", why]), False


def compare_outputs(recorded: dvc_files.Lock, rebuilt: dvc_files.Lock, folder: Path) -> list[OutputComparison]:
    """Every output that a commit recorded, in the order in which its stages were run again in `folder`."""
    hashes = dvc_files.output_hashes(rebuilt)
    order = [*(name for name in rebuilt if name in recorded), *(name for name in recorded if name not in rebuilt)]
    return [
        OutputComparison(
            name, path, md5, hashes.get(path), manifest.content_hash(folder / path) if path in hashes else ""
        )
        for name in order
        for path, md5 in dvc_files.output_hashes({name: recorded[name]}).items()
    ]


def outputs_table(rows: list[OutputComparison]) -> str:
    """One aligned line an output."""
    return text_tables.text_table(
        [("stage", "output", "sha256", ""), *((r.stage, r.path, r.sha256[:12], r.verdict) for r in rows)]
    )


def differing_files(rows: list[OutputComparison], folder: Path) -> Iterator[str]:
    """A sentence for each folder that differs about the files that do, if the cache has the folder as it was."""
    for row in rows:
        old = (
            revisions.list_cached_files(row.recorded)
            if row.verdict == "differs" and row.recorded.endswith(".dir")
            else {}
        )
        if old:
            new = {name: manifest.file_md5(file) for name, file in manifest.list_files(folder / row.path).items()}
            differ = sorted(name for name in old | new if old.get(name) != new.get(name))
            others = format_count(len(old | new) - len(differ), "other file")
            yield f"{row.path}: not equal: {', '.join(differ)}; equal: {others}"


def first_difference(
    rows: list[OutputComparison], recorded: dvc_files.Lock, rebuilt: dvc_files.Lock, folder: Path
) -> str:
    """One sentence about the first stage that is not as it was, and about what it was made from."""
    first = next(row for row in rows if not row.is_same)
    if first.rebuilt is None:
        return (
            f"{first.stage} is the first stage that is missing: the rerun stopped with {rebuild.failure_text(folder)}"
        )
    before, after = stage_inputs(recorded[first.stage]), stage_inputs(rebuilt[first.stage])
    changed = sorted(name for name in before | after if before.get(name) != after.get(name))
    equal = sorted(before.keys() - changed)
    code = [name for name in equal if name.endswith(".py") or name.startswith("refrain/")]
    equal_names = [name for name in equal if name not in code] + [f"{format_count(len(code), 'path')} of code"] * bool(
        code
    )
    inputs_text = (
        f"not what was recorded are its inputs {', '.join(changed)}" if changed else "all its inputs are equal"
    )
    return f"{first.stage} is the first stage that differs; {inputs_text}; equal are {', '.join(equal_names) or 'none'}"


def stage_inputs(stage: dict[str, Any]) -> dict[str, Any]:
    """The deps of a stage of dvc.lock with their md5, and its params with their values."""
    params = {key: value for file in stage.get("params", {}).values() for key, value in file.items()}
    return {dep["path"]: dep["md5"] for dep in stage.get("deps", [])} | params
