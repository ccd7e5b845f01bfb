"""What one run has left in reports/: read once, each file only if it is of this run."""

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omegaconf import OmegaConf

from refrain.chat import records
from refrain.evaluation.scores import model_name
from refrain.experiments import bench, report_runs, results
from refrain.pipeline import dvc_files, manifest, paths, recovery

if TYPE_CHECKING:
    from refrain.evaluation.scoring import Prediction

Curve = list[tuple[float, float]]  # step and loss
JSON_REPORTS = (
    paths.DATA_REPORT,
    paths.TRAIN_REPORT,
    paths.MERGE_REPORT,
    paths.PARITY,
    paths.GGUF_REPORT,
    paths.METRICS,
)
SHOWN_LINES = ("run:", "proof:", "scores:", "missing:", "not shown:", "since then:")  # the others are for a terminal


@dataclass(frozen=True)
class RunReports:
    """The reports of a run; what is not here, or is of another run, is empty and named in `notes`."""

    notes: list[str]  # which run it is, and what is not shown
    settings: dict[str, Any]  # params.yaml as the run read it
    data: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    merge: dict[str, Any] = field(default_factory=dict)
    parity: dict[str, Any] = field(default_factory=dict)
    gguf: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    artifact: dict[str, Any] = field(default_factory=dict)  # the manifest of models/onnx
    curves: dict[str, Curve] = field(default_factory=dict)  # train, val and kept
    speeds: list[dict[str, str]] = field(default_factory=list)  # of each variant, as `refrain bench` measured it
    machine: str = ""  # that it was measured on
    predictions: dict[str, list["Prediction"]] = field(default_factory=dict)

    @property
    def best(self) -> str:
        """The variant that is shipped, by the artifact, else by its score; empty when it is not known."""
        if "best" in self.artifact:
            return str(self.artifact["best"])
        scores: dict[str, float] = self.summary.get("rougeL", {})
        equal = [
            name for name, score in scores.items() if score == scores.get("best") and model_name(name) in self.metrics
        ]
        return equal[0] if len(equal) == 1 else ""

    @property
    def shown_model(self) -> str:
        """The model that the page speaks of first: the best variant, else the last one that was scored."""
        scored = list(self.metrics)
        return best if (best := model_name(self.best)) in scored else (scored or [""])[-1]


def read_workspace() -> RunReports:
    """The reports of the last run, as `refrain report` shows them; ValueError if there are none."""
    results.require_results()
    runs, lock = report_runs.compare_runs(), dvc_files.current_lock()
    notes = [line for line in runs.lines if line.startswith(SHOWN_LINES)]
    hidden = {path for path, is_shown in ((paths.METRICS, runs.has_scores), (paths.PARITY, runs.has_proof),
                                          (paths.PREDICTIONS, runs.has_samples)) if not is_shown}  # fmt: skip
    others = [paths.DATA_REPORT, paths.TRAIN_REPORT, paths.MERGE_REPORT, paths.LOSS]
    others += [paths.GGUF_REPORT] if paths.GGUF_REPORT.is_file() else []  # runs of before it have none
    for path in others:
        if reason := find_reason(path, lock, "evaluate" if runs.has_scores else "export_onnx"):
            hidden.add(path)
            notes.append(f"not shown: {reason}")
    return read_folder(Path(), lock, hidden, notes)


def find_reason(path: Path, lock: dvc_files.Lock, last: str) -> str:
    """Why a report does not belong to the run whose `last` stage is shown; empty when it does."""
    state = report_runs.find_state(path, lock)
    if state == "missing":
        way = recovery.fetch_commands(lock, [], [str(path)]) if str(path) in dvc_files.output_hashes(lock) else ""
        return f"{path} is not here; {way or '`dvc repro`'} brings it"
    if not lock:
        return ""
    if state == "unrecorded":
        return f"{path}, which dvc.lock does not list so"
    outputs, read = dvc_files.output_hashes(lock), list_hashes(lock.get(last, {}), "deps")
    stage = lock[report_runs.maker(path)]
    used = list_hashes(stage, "deps") | list_hashes(stage, "outs")
    is_one_run = all(read.get(name, md5) == md5 for name, md5 in used.items() if name in outputs)
    return "" if is_one_run else f"{path}, which is of another run than what {last} made"


def list_hashes(stage: Mapping[str, Any], kind: str) -> dict[str, str]:
    """The md5 of the deps or outs of a stage in dvc.lock, by path."""
    return {each["path"]: each["md5"] for each in stage.get(kind, [])}


def read_folder(root: Path, lock: dvc_files.Lock, hidden: set[Path], notes: list[str]) -> RunReports:
    """The reports below a folder but for those that are hidden."""

    def read(path: Path) -> dict[str, Any]:
        return read_json(root / path) if path not in hidden else {}

    data, train, merge, parity, gguf, metrics = map(read, JSON_REPORTS)
    speeds, machine = read_speeds(root / bench.TABLE, parity)
    if parity and not speeds:
        notes = [*notes, f"not shown: size against speed; `refrain bench` writes {bench.TABLE} of this run's variants"]
    return RunReports(
        notes,
        read_settings(root / paths.PARAMS, lock),
        data,
        train,
        merge,
        parity,
        gguf,
        metrics,
        read_json(root / paths.SUMMARY) if metrics else {},
        read_artifact(root / paths.ONNX / manifest.MANIFEST, lock),
        {} if paths.LOSS in hidden else read_curves(root / paths.LOSS),
        speeds,
        machine,
        {} if paths.PREDICTIONS in hidden else read_predictions(root / paths.PREDICTIONS),
    )


def read_json(file: Path) -> dict[str, Any]:
    """An object of a report; empty when there is no file."""
    return cast(dict[str, Any], json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def read_settings(params: Path, lock: dvc_files.Lock) -> dict[str, Any]:
    """What the stages of a run read of params.yaml, by dvc.lock; without one, what stands there now."""
    if not lock:
        return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(params))) if params.is_file() else {}
    config = OmegaConf.create()
    for stage in lock.values():
        for key, value in stage.get("params", {}).get(str(paths.PARAMS), {}).items():
            OmegaConf.update(config, key, value, force_add=True)
    return cast(dict[str, Any], OmegaConf.to_container(config))


def read_artifact(file: Path, lock: dvc_files.Lock) -> dict[str, Any]:
    """The manifest of models/onnx if that was made of what the run merged; hashing the models would take long."""
    facts, hashes = read_json(file), dvc_files.output_hashes(lock)
    made_of: Mapping[str, str] = facts.get("made_of", {})
    return facts if all(hashes.get(path, md5) == md5 for path, md5 in made_of.items()) else {}


def read_curves(folder: Path) -> dict[str, Curve]:
    """Loss by step, of training and validation, and where the weights were kept."""
    files = {name: folder / "plots/metrics" / name / "loss.tsv" for name in ("train", "val", "kept")}
    return {name: read_curve(file) for name, file in files.items() if file.is_file()}


def read_curve(file: Path) -> Curve:
    rows = csv.DictReader(io.StringIO(file.read_text(encoding="utf-8")), delimiter="\t")
    points = [(float(row["step"]), float(row["loss"])) for row in rows]
    return [(step, loss) for step, loss in points if math.isfinite(loss)]  # of a training that diverged, what was drawn


def read_speeds(file: Path, parity: dict[str, Any]) -> tuple[list[dict[str, str]], str]:
    """The table of `refrain bench` by column, and its machine; nothing if it is not of the variants of this proof."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    rows = [dict(zip(bench.HEADER, row, strict=False)) for row in cells[2:]]
    machine = next((line for line in lines if line.endswith(".") and "threads" in line), "")
    is_of_run = all(
        bench.parity_cells(parity.get(row["variant"], {})) == [row[k] for k in bench.HEADER[6:9]] for row in rows
    )
    return (rows, machine) if rows and is_of_run else ([], "")


def read_predictions(folder: Path) -> dict[str, list["Prediction"]]:
    """What each model said of the test rows, the base and the merged model first."""
    files = sorted(folder.glob("*.jsonl"), key=lambda file: (file.stem not in ("base", "merged"), file.stem))
    return {file.stem: cast("list[Prediction]", records.read_rows(file)) for file in files}
