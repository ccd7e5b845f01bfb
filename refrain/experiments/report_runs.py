"""Which run each report is of, by the checksums in dvc.lock: scores never stand above the proof of another run."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf

from refrain.pipeline import dvc_files, git, manifest, paths, recovery

SHOWN = 5  # changes, beyond which the others are counted


@dataclass(frozen=True)
class ReportRuns:
    """What of the reports may stand on one page, and the lines above it."""

    lines: list[str]
    has_scores: bool
    has_proof: bool
    has_samples: bool


def compare_runs() -> ReportRuns:
    """Of which run the reports in this folder are, by dvc.lock, and which of them are of the newest."""
    lock = dvc_files.current_lock()
    states = {path: find_state(path, lock) for path in (paths.METRICS, paths.PARITY, paths.PREDICTIONS)}
    scores, proof, samples = states.values()
    if not lock:
        here = [state != "missing" for state in states.values()]
        return ReportRuns(["run: unknown, for there is no dvc.lock; `dvc repro` makes one"], *here)
    is_one_run = read_md5(lock, paths.METRICS, "deps", paths.ONNX) == read_md5(lock, paths.PARITY, "outs", paths.ONNX)
    if scores == "recorded" and proof in ("recorded", "missing") and is_one_run:
        lines = [f"run: {describe_run(lock)}", *describe_missing(states, lock), *describe_changes(lock)]
        return ReportRuns(lines, True, proof == "recorded", samples == "recorded")
    return part_runs(states, lock)


def part_runs(states: dict[Path, str], lock: dvc_files.Lock) -> ReportRuns:
    """Reports of more than one run: the proof, as the newer one, else the scores; the ways on and back."""
    scores, proof, _ = states.values()
    lines = []
    if proof != "missing":
        unlisted = f"a run that dvc.lock does not list, for {maker(paths.PARITY)} failed or was run by hand"
        lines.append(f"proof: {paths.PARITY} is of {'the last run' if proof == 'recorded' else unlisted}")
        older = "an earlier run" if scores == "recorded" else "a run that dvc.lock does not list"
        gone = f"scores: {paths.METRICS} is missing, for {maker(paths.METRICS)} has not run since"
        lines.append(gone if scores == "missing" else f"scores: {paths.METRICS} is of {older}, so it is not shown here")
    else:
        lines.append(f"scores: {paths.METRICS} is of {describe_run(lock)}, and no proof of that run is here")
    lines += ["go on:   `dvc repro` makes all of one run", f"go back: {recovery.way_back(maker(paths.METRICS))}"]
    return ReportRuns(lines, proof == "missing", proof != "missing", False)


def find_state(path: Path, lock: dvc_files.Lock) -> str:
    """Whether a report is missing, as dvc.lock lists it (recorded), or something else (unrecorded)."""
    if not path.exists():
        return "missing"
    return "recorded" if manifest.dvc_md5(path) == dvc_files.output_hashes(lock).get(str(path)) else "unrecorded"


def maker(path: Path) -> str:
    """The stage that makes a file."""
    stages = dvc_files.list_stages()
    return next((name for name, stage in stages.items() if str(path) in dvc_files.list_outputs(stage)), "no stage")


def read_md5(lock: dvc_files.Lock, report: Path, kind: str, path: Path) -> str | None:
    """The md5 of a file among the deps or outs of the stage that made a report."""
    listed = lock.get(maker(report), {}).get(kind, [])
    return next((each["md5"] for each in listed if each["path"] == str(path)), None)


def has_gguf_proof() -> bool:
    """Whether the proof of GGUF files is as dvc.lock lists it, and of the merged model of the ONNX variants."""
    lock = dvc_files.current_lock()
    if find_state(paths.GGUF_REPORT, lock) != "recorded":
        return False
    return read_md5(lock, paths.GGUF_REPORT, "deps", paths.MERGED) == read_md5(lock, paths.PARITY, "deps", paths.MERGED)


def describe_run(lock: dvc_files.Lock) -> str:
    """A run by its artifact, and by the commit that lists it."""
    stage = maker(paths.METRICS)
    md5 = str(read_md5(lock, paths.METRICS, "deps", paths.ONNX))
    is_committed = dvc_files.committed_lock().get(stage) == lock.get(stage)
    commit = git.run_git("log", "-1", "--format=%h", "--", str(dvc_files.LOCK))
    return f"{paths.ONNX} {md5[:8]}, {f'commit {commit}' if is_committed else 'not committed'}"


def describe_missing(states: dict[Path, str], lock: dvc_files.Lock) -> Iterator[str]:
    """What is not here though dvc.lock lists it, and how to get it."""
    if absent := [str(path) for path, state in states.items() if state == "missing"]:
        yield f"missing: {', '.join(absent)}; {recovery.fetch_commands(lock, [], absent) or '`dvc repro`'} brings that"
    if others := [str(path) for path, state in states.items() if state == "unrecorded"]:
        yield f"not shown: {', '.join(others)}, which dvc.lock does not list so"


def describe_changes(lock: dvc_files.Lock) -> Iterator[str]:
    """What a run would do now that params.yaml or an output of an earlier stage is another."""
    if changes := [*changed_params(lock), *changed_inputs(lock)]:
        more = f"; and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
        yield f"since then: {'; '.join(changes[:SHOWN])}{more}"
        yield "go on:   `dvc repro` runs what has changed"
        yield f"go back: {recovery.way_back(maker(paths.METRICS))}"


def changed_inputs(lock: dvc_files.Lock) -> Iterator[str]:
    """Each stage that has not run since another made another input."""
    made = dvc_files.output_hashes(lock)
    for name, stage in lock.items():
        for dep in stage.get("deps", []):
            if made.get(dep["path"], dep["md5"]) != dep["md5"]:
                yield f"{dep['path']} is another, and {name} has not run on it"


def changed_params(lock: dvc_files.Lock) -> Iterator[str]:
    """Each value that params.yaml has and the run had not."""
    if not paths.PARAMS.is_file():
        return
    now = OmegaConf.load(paths.PARAMS)
    seen: set[str] = set()
    for stage in lock.values():
        for key, value in stage.get("params", {}).get(str(paths.PARAMS), {}).items():
            current = OmegaConf.select(now, key)
            plain = OmegaConf.to_container(current) if OmegaConf.is_config(current) else current
            seen |= set(differences(key, value, plain))
    yield from sorted(seen)


def differences(key: str, before: Any, now: Any) -> Iterator[str]:
    """A text for each value that differs, at any depth."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in before.keys() | now.keys():
            yield from differences(f"{key}.{name}", before.get(name), cast(dict[str, Any], now).get(name))
    elif before != now:
        yield f"{key} was {before} and is {now}"
