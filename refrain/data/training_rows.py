"""Whether there are rows to train on, to validate with and to test on; where not, why, and where the reasons stay."""

import logging
import shutil
from pathlib import Path
from typing import Any

from refrain.data import file_problems, rejected_rows
from refrain.data.shapes import errors
from refrain.data.sources import SourceFile
from refrain.pipeline import paths
from refrain.pipeline.schema import DataConfig

log = logging.getLogger(__name__)


ELSEWHERE = {  # than in train
    "val": "went to val",
    "test": "went to test",
    "duplicates": "repeat or leak others",
    "quarantined": "are broken",
    "set_aside": "are filtered out",
}


OTHER_READING = "mend the rows, or have them read in another way (`refrain data FILE` shows how a file is read)"


MAX_NAMED = 3  # files


EMPTY = {  # what follows where a split holds no row
    ("val",): "val is empty: no validation loss will tell; data.val_fraction draws some rows for it",
    ("test",): "test is empty: evaluate measures on val; data.test_fraction draws some rows for it",
    ("val", "test"): "val and test are empty: evaluate measures on rows of train, which is no exam; "
    "data.val_fraction and data.test_fraction draw some for them",
}


def require_training_rows(report: dict[str, Any], files: dict[str, SourceFile], data: DataConfig) -> None:
    """ValueError when no row is left to train on, or too many of a file are broken: why, and the way out."""
    if problem := explain_loss(report, files, data):
        lines = [problem]
        lines += [f"  {example['id']}: {example['message']}" for example in rejected_rows.choose_examples(report)]
        if copy := keep_reports():
            lines.append(f"{copy} keeps what was counted")
        elif report["reasons"]:
            lines.append(f"{paths.PREPARED}/quarantine.jsonl and duplicates.jsonl have all of them")
        raise ValueError("\n".join(lines))
    for name, source in report["sources"].items():
        if not source["rows"]:
            log.warning("%s", file_problems.explain_emptiness(files[name], data))
    if sentence := describe_empty_splits(report):
        log.warning("%s", sentence)


def describe_empty_splits(report: dict[str, Any]) -> str:
    """What follows from it that no row is in val or test; nothing where both have some."""
    sentence = EMPTY.get(tuple(name for name in ("val", "test") if not report[name]), "")
    return f"there is 1 row: {sentence}" if sentence and report["rows"] == 1 else sentence


def explain_loss(report: dict[str, Any], files: dict[str, SourceFile], data: DataConfig) -> str:
    """Why no row is left to train on, or more of a file are broken than may be, and what to do; else nothing."""
    if not report["rows"]:
        holes = [file_problems.explain_emptiness(file, data) for file in files.values()]
        return f"no row is left to train on: {'; '.join(holes[:MAX_NAMED])}"
    broken = [
        files[name]
        for name, source in report["sources"].items()
        if source["quarantined"] > data.max_quarantined * source["rows"]
    ]
    problems = {file.name: problem for file in broken if (problem := file_problems.find_problem(file, data))}
    if not report["train"]:
        names = ", ".join(dict.fromkeys(file.config.path or str(file.config.hub) for file in files.values()))
        return f"{explain_no_rows(report, names)}; {next(iter(problems.values()), find_way_out(report))}"
    if not broken:
        return ""
    file = next((file for file in broken if file.name in problems), broken[0])
    source, way_out = report["sources"][file.name], problems.get(file.name, OTHER_READING)
    reasons = {reason: rows for reason, rows in source["reasons"].items() if reason in errors.QUARANTINED}
    return (f"{file.config.path}: {source['quarantined']:,} of {source['rows']:,} rows are broken "
            f"({rejected_rows.describe_reasons(reasons)}), a larger share than data.max_quarantined="
            f"{data.max_quarantined:g}; {way_out}; data.max_quarantined=1 trains on the others")  # fmt: skip


def explain_no_rows(report: dict[str, Any], names: str) -> str:
    """Where all rows of the files of these names went, and how many for which reason."""
    counts = [f"{report[place]:,} {meaning}" for place, meaning in ELSEWHERE.items() if report[place]]
    rows = f"of {report['rows']:,} row{'s'[: report['rows'] > 1]} in {names} {', '.join(counts)}"
    reasons = f" ({rejected_rows.describe_reasons(report['reasons'])})" if report["reasons"] else ""
    return f"no row is left to train on: {rows}{reasons}"


def find_way_out(report: dict[str, Any]) -> str:
    if {source["split"] for source in report["sources"].values()} <= {"val", "test"}:
        return "every source is declared for val or test; take `split` from one of them in data.sources"
    undeclared = [source for source in report["sources"].values() if source["split"] is None]
    if report["duplicates"] and not any(source["val"] + source["test"] for source in undeclared):
        return ("the other sources ask what is held out: take these questions out of the files for val and test, or "
                "add rows that ask something else")  # fmt: skip
    if report["val"] + report["test"]:
        return ("names of files declare a split, and else the fractions draw by a hash of each row, however few there "
                "are: give more rows, set data.val_fraction=0 data.test_fraction=0, or declare `split: train` beside "
                "the path")  # fmt: skip
    return OTHER_READING


def keep_reports() -> Path | None:
    """What a run in a temporary copy, which is deleted with all that it holds, leaves in the workspace when it fails.

    None where the workspace itself was run in.
    """
    if paths.workspace().resolve() == Path.cwd():
        return None
    folder = Path(paths.FAILED, paths.run_name())
    for report in (paths.DATA_REPORT, paths.DATA_SHEET):
        copy = paths.workspace() / folder / report.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(report, copy)
    return folder / paths.DATA_SHEET.name
