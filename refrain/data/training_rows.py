"""Whether there are rows to train on, to validate with and to test on; where not, why, and where the reasons stay."""

import logging
import shutil
from pathlib import Path
from typing import Any

from refrain.data import rejected_rows
from refrain.pipeline import paths

log = logging.getLogger(__name__)


ELSEWHERE = {  # than in train
    "val": "went to val",
    "test": "went to test",
    "duplicates": "repeat or leak others",
    "quarantined": "are broken",
    "set_aside": "are filtered out",
}


EMPTY = {  # what follows where a split holds no row
    ("val",): "val is empty: no validation loss will tell; data.val_fraction draws some rows for it",
    ("test",): "test is empty: evaluate measures on val; data.test_fraction draws some rows for it",
    ("val", "test"): "val and test are empty: evaluate measures on rows of train, which is no exam; "
    "data.val_fraction and data.test_fraction draw some for them",
}


def require_training_rows(report: dict[str, Any]) -> None:
    """ValueError when no row is left to train on: where they all went, why, three of them, and the way out."""
    if not report["train"]:
        lines = [explain_no_rows(report)]
        lines += [f"  {example['id']}: {example['message']}" for example in rejected_rows.choose_examples(report)]
        if copy := keep_reports():
            lines.append(f"{copy} keeps what was counted")
        elif report["reasons"]:
            lines.append(f"{paths.PREPARED}/quarantine.jsonl and duplicates.jsonl have all of them")
        raise ValueError("\n".join(lines))
    if sentence := describe_empty_splits(report):
        log.warning("%s", sentence)


def describe_empty_splits(report: dict[str, Any]) -> str:
    """What follows from it that no row is in val or test; nothing where both have some."""
    return EMPTY.get(tuple(name for name in ("val", "test") if not report[name]), "")


def explain_no_rows(report: dict[str, Any]) -> str:
    """Where all rows went, how many for which reason, and what to do."""
    counts = [f"{report[place]:,} {meaning}" for place, meaning in ELSEWHERE.items() if report[place]]
    rows = f"of {report['rows']:,} row{'s'[: report['rows'] > 1]} {', '.join(counts)}"
    reasons = f" ({rejected_rows.describe_reasons(report['reasons'])})" if report["reasons"] else ""
    where = f"{rows}{reasons}" if counts else "the sources hold none"
    return f"no row is left to train on: {where}; {find_way_out(report)}"


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
    if report["reasons"]:
        return "mend the rows, or have them read in another way (`refrain data FILE` shows how a file is read)"
    return "name a file with rows in data.sources"


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
