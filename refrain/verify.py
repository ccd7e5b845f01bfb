"""Whether a rebuilt commit has the bytes that it recorded, and if not, where it parted from them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refrain import info, manifest, rebuild, revisions


@dataclass
class Row:
    """One output of one stage, then and now."""

    stage: str
    path: str
    recorded: str  # md5, as dvc.lock has it
    found: str | None  # null: the rerun did not come so far
    seal: str  # sha256 of what was rebuilt

    @property
    def same(self) -> bool:
        return self.found == self.recorded

    @property
    def verdict(self) -> str:
        return "not rebuilt" if self.found is None else "same" if self.same else "differs"


def compare(recorded: revisions.Lock, rebuilt: revisions.Lock, folder: Path) -> list[Row]:
    """Every output that a commit recorded, in the order in which its stages were run again in `folder`."""
    found = revisions.outs(rebuilt)
    order = [*(name for name in rebuilt if name in recorded), *(name for name in recorded if name not in rebuilt)]
    return [
        Row(name, path, md5, found.get(path), manifest.seal(folder / path) if path in found else "")
        for name in order
        for path, md5 in revisions.outs({name: recorded[name]}).items()
    ]


def table(rows: list[Row]) -> str:
    """One aligned line an output."""
    return info.columns([("stage", "output", "sha256", ""), *((r.stage, r.path, r.seal[:12], r.verdict) for r in rows)])


def files(rows: list[Row], folder: Path) -> Iterator[str]:
    """A sentence for each folder that differs about the files that do, if the cache has the folder as it was."""
    for row in rows:
        old = revisions.kept(row.recorded) if row.verdict == "differs" and row.recorded.endswith(".dir") else {}
        if old:
            new = {name: manifest.md5(file) for name, file in manifest.files(folder / row.path).items()}
            differ = sorted(name for name in old | new if old.get(name) != new.get(name))
            yield f"{row.path}: not equal are {', '.join(differ)}; equal are {len(old | new) - len(differ)} other files"


def parting(rows: list[Row], recorded: revisions.Lock, rebuilt: revisions.Lock, folder: Path) -> str:
    """One sentence about the first stage that is not as it was, and about what it was made from."""
    first = next(row for row in rows if not row.same)
    if first.found is None:
        return f"{first.stage} is the first stage that is missing: the rerun stopped with {rebuild.complaint(folder)}"
    before, after = inputs(recorded[first.stage]), inputs(rebuilt[first.stage])
    changed = sorted(name for name in before | after if before.get(name) != after.get(name))
    equal = sorted(before.keys() - changed)
    code = [name for name in equal if name.endswith(".py")]
    named = [name for name in equal if name not in code] + [f"{len(code)} files of code"] * bool(code)
    said = f"not what was recorded are its inputs {', '.join(changed)}" if changed else "all its inputs are equal"
    return f"{first.stage} is the first stage that differs; {said}; equal are {', '.join(named) or 'none'}"


def inputs(stage: dict[str, Any]) -> dict[str, Any]:
    """The deps of a stage of dvc.lock with their md5, and its params with their values."""
    params = {key: value for file in stage.get("params", {}).values() for key, value in file.items()}
    return {dep["path"]: dep["md5"] for dep in stage.get("deps", [])} | params
