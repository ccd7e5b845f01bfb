"""How far a rebuild that differs has moved: the hardware and the libraries then and now, and the scores."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from refrain.experiments import text_tables
from refrain.exporters.onnx import provenance
from refrain.pipeline import dvc_files, manifest, paths, revisions

# Another processor rounds sums in another order. A near tie between two tokens then falls the other way, and with it
# the rest of that reply; a score that moves further than such ties can carry it is no matter of rounding.
TOLERANCES = {
    "rows": 0.0,  # counted, nothing is rounded
    "perplexity": 0.05,  # of its value: a mean over all tokens, on which no tie has a say
    "bleu": 5.0,  # points of 100: one reply in twenty
    "other": 0.05,  # shares of 1: one reply in twenty
}


def drift_report(commit: str, recorded: dvc_files.Lock, rebuilt: dvc_files.Lock, folder: Path) -> str:
    """Facts then and now, and the scores of the commit beside those of the rebuild in `folder`."""
    file = str(paths.METRICS)
    metrics_text = (folder / file).read_text(encoding="utf-8") if file in dvc_files.output_hashes(rebuilt) else ""
    environments = environment_table(recorded_manifest(recorded), provenance.environment())
    return f"{environments}\n\n{score_table(revisions.read_git_file(commit, file), metrics_text)}"


def recorded_manifest(recorded: dvc_files.Lock) -> dict[str, Any]:
    """The manifest of models/onnx that a commit recorded, if this repository's cache has it; else empty."""
    md5 = revisions.list_cached_files(dvc_files.output_hashes(recorded).get(str(paths.ONNX), "")).get(manifest.MANIFEST)
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
