"""Whether a rebuilt commit has the bytes that it recorded.

If not: which stage is the first that differs and what it was made from, hardware and libraries then and now, and how
far the scores have moved.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refrain.experiments import rebuild, text_tables
from refrain.export.onnx import provenance
from refrain.pipeline import manifest, paths, revisions

# Another processor rounds sums in another order. A near tie between two tokens then falls the other way, and with it
# the rest of that reply; a score that moves further than such ties can carry it is no matter of rounding.
TOLERANCES = {
    "rows": 0.0,  # counted, nothing is rounded
    "perplexity": 0.05,  # of its value: a mean over all tokens, on which no tie has a say
    "bleu": 5.0,  # points of 100: one reply in twenty
    "other": 0.05,  # shares of 1: one reply in twenty
}


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


def compare_outputs(recorded: revisions.Lock, rebuilt: revisions.Lock, folder: Path) -> list[OutputComparison]:
    """Every output that a commit recorded, in the order in which its stages were run again in `folder`."""
    hashes = revisions.output_hashes(rebuilt)
    order = [*(name for name in rebuilt if name in recorded), *(name for name in recorded if name not in rebuilt)]
    return [
        OutputComparison(
            name, path, md5, hashes.get(path), manifest.content_hash(folder / path) if path in hashes else ""
        )
        for name in order
        for path, md5 in revisions.output_hashes({name: recorded[name]}).items()
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
            yield f"{row.path}: not equal are {', '.join(differ)}; equal are {len(old | new) - len(differ)} other files"


def first_difference(
    rows: list[OutputComparison], recorded: revisions.Lock, rebuilt: revisions.Lock, folder: Path
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
    equal_names = [name for name in equal if name not in code] + [f"{len(code)} files and folders of code"] * bool(code)
    inputs_text = (
        f"not what was recorded are its inputs {', '.join(changed)}" if changed else "all its inputs are equal"
    )
    return f"{first.stage} is the first stage that differs; {inputs_text}; equal are {', '.join(equal_names) or 'none'}"


def stage_inputs(stage: dict[str, Any]) -> dict[str, Any]:
    """The deps of a stage of dvc.lock with their md5, and its params with their values."""
    params = {key: value for file in stage.get("params", {}).values() for key, value in file.items()}
    return {dep["path"]: dep["md5"] for dep in stage.get("deps", [])} | params


def drift_report(commit: str, recorded: revisions.Lock, rebuilt: revisions.Lock, folder: Path) -> str:
    """Facts then and now, and the scores of the commit beside those of the rebuild in `folder`."""
    file = str(paths.METRICS)
    metrics_text = (folder / file).read_text(encoding="utf-8") if file in revisions.output_hashes(rebuilt) else ""
    environments = environment_table(recorded_manifest(recorded), provenance.environment())
    return f"{environments}\n\n{score_table(revisions.read_git_file(commit, file), metrics_text)}"


def recorded_manifest(recorded: revisions.Lock) -> dict[str, Any]:
    """The manifest of models/onnx that a commit recorded, if this repository's cache has it; else empty."""
    md5 = revisions.list_cached_files(revisions.output_hashes(recorded).get(str(paths.ONNX), "")).get(manifest.MANIFEST)
    return json.loads(revisions.cache_path(md5).read_text(encoding="utf-8")) if md5 else {}


def environment_table(then: dict[str, Any], now: dict[str, Any]) -> str:
    """What decides how sums are rounded, one aligned line each."""
    threads = os.environ.get("OMP_NUM_THREADS") or str(os.cpu_count())
    rows = [("cpu", then.get("cpu"), now["cpu"]), ("threads", then.get("threads"), threads)]
    rows += [(name, then.get("versions", {}).get(name), version) for name, version in now["versions"].items()]
    comparisons = [
        (name, old or "not recorded", new, "" if old in (None, new) else "differs") for name, old, new in rows
    ]
    return text_tables.text_table([("", "recorded", "here", ""), *comparisons])


def score_table(then: str, now: str) -> str:
    """The furthest that each score has moved, its tolerance, and whether all are within theirs."""
    if not (then and now):
        return "there are no scores to compare"
    old, new = dict(numbers_in(json.loads(then))), dict(numbers_in(json.loads(now)))
    if changed := sorted(old.keys() ^ new.keys()):
        return f"{paths.METRICS} has other scores than it had: {', '.join('.'.join(place) for place in changed)}"
    furthest: dict[str, tuple[float, str]] = {}
    for place, value in old.items():
        score = place[-1]
        moved = abs(new[place] - value) / (abs(value) if score == "perplexity" and value else 1)
        furthest[score] = max(furthest.get(score, (0.0, "")), (moved, ".".join(place[:-1])))
    rows = [
        (
            score,
            f"{moved:.4f}",
            place_name,
            f"{tolerance_of(score):g}",
            "within" if moved <= tolerance_of(score) else "beyond",
        )
        for score, (moved, place_name) in furthest.items()
    ]
    beyond = [row[0] for row in rows if row[-1] == "beyond"]
    verdict = (
        f"scores beyond their tolerance: {', '.join(beyond)}" if beyond else "all scores are within their tolerance"
    )
    return f"{text_tables.text_table([('score', 'moved', 'of', 'tolerance', ''), *rows])}\n{verdict}"


def tolerance_of(score: str) -> float:
    return TOLERANCES.get(score, TOLERANCES["other"])


def numbers_in(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    """Every number in nested sections, with the keys that lead to it."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from numbers_in(item, (*place, key))
    elif isinstance(value, (int, float)):
        yield place, float(value)
