"""Rows written to the file of their split, and those that repeat one of them to duplicates.jsonl.

The balance of a data set: every row that was read is in exactly one place.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refrain.chat import records
from refrain.data.corpus import SourceCounts
from refrain.data.parallel import mapping
from refrain.data.shapes import errors
from refrain.data.splitting.leakage import NONE, SPLITS
from refrain.data.splitting.ragged import Array
from refrain.data.splitting.row_store import BATCH_BYTES, RejectedRow, RowStore
from refrain.data.splitting.splits import Assignment
from refrain.pipeline import paths
from refrain.pipeline.schema import DataConfig


@dataclass(frozen=True)
class SplitWriter:
    """Copies rows to where each belongs: their texts lie in one file, and the bytes before them are known."""

    texts_file: Path
    folder: Path

    def __call__(self, rows: tuple[int, Array, Array, Array]) -> None:
        """Rows from a byte of the texts on: their sizes and splits, and for each split where its next row begins."""
        begin, sizes, splits, places = rows
        with self.texts_file.open("rb") as file:
            file.seek(begin)
            text = file.read(int(sizes.sum()))
        ends = np.cumsum(sizes)
        for split, name in enumerate(SPLITS):
            mine = splits == split
            bounds = zip((ends - sizes)[mine].tolist(), ends[mine].tolist(), strict=True)
            with (self.folder / f"{name}.jsonl").open("r+b") as file:
                file.seek(int(places[split]))
                file.write(b"".join([text[a:b] for a, b in bounds]))


def write_splits(spool: RowStore, placed: Assignment, data: DataConfig) -> None:
    """Every row of the spool, in its order, as one line of one file."""
    for name in SPLITS:
        (paths.PREPARED / f"{name}.jsonl").touch()
    for _ in mapping.parallel_map(SplitWriter(spool.folder / "text", paths.PREPARED), row_batches(spool, placed), data):
        pass
    records.write_rows(paths.PREPARED / "duplicates.jsonl", duplicate_rows(spool, placed))


def row_batches(spool: RowStore, placed: Assignment) -> Iterator[tuple[int, Array, Array, Array]]:
    """All rows, some at a time."""
    every, places = spool.ragged_column("text"), np.zeros(len(SPLITS), np.int64)
    for some in every.contiguous_batches(BATCH_BYTES):
        if len(some):
            sizes, splits = spool["text"][some], placed.split[some]
            yield int(every.starts[some[0]]), sizes, splits, places.copy()
            places += [sizes[splits == split].sum() for split in range(len(SPLITS))]


def duplicate_rows(spool: RowStore, placed: Assignment) -> Iterator[RejectedRow]:
    """A line for each row that goes nowhere."""
    for row in np.flatnonzero(placed.split == NONE).tolist():
        owner, reason, offset = int(placed.owner[row]), placed.reason[row], int(spool["offset"][row])
        stays = placed.split[owner]
        yield {
            "id": spool.id_of(row),
            "source": spool.sources[spool["source"][row]],
            "line": int(spool["line"][row]),
            "offset": None if offset < 0 else offset,
            "reason": reason,
            "message": MESSAGES[reason].format(split=SPLITS[stays] if stays != NONE else "another file"),
            "of": spool.id_of(owner),
        }


MESSAGES = {
    "duplicate": "an earlier row asks and answers the same",
    "other_answer": "an earlier row asks the same and answers otherwise",
    "exact_leak": "{split} holds the same question",
    "near_leak": "{split} holds nearly the same question",
    "group_leak": "{split} holds a row of the same group",
    "contaminated": "it says a long stretch of a question in {split}",
}


log = logging.getLogger(__name__)


PLACES = (*SPLITS, "duplicates", "quarantined", "set_aside")


def reconcile(spool: RowStore, placed: Assignment, tally: SourceCounts) -> dict[str, Any]:
    """Where the rows of each source went and why; ValueError when the files of data/prepared hold more or fewer."""
    sources: dict[str, dict[str, Any]] = {}
    for index, name in enumerate(spool.sources):
        mine = spool["source"] == index
        reasons = tally.reasons[name] + Counter(placed.reason[mine & (placed.split == NONE)].tolist())
        places = {split: int((placed.split[mine] == number).sum()) for number, split in enumerate(SPLITS)}
        places |= count_places(reasons)
        sources[name] = {"rows": tally.rows[name], **places, "reasons": dict(reasons), "effects": +tally.effects[name]}
        log.info("%s: %s", name, ", ".join(f"{sources[name][key]:,} {key}" for key in ("rows", *PLACES)))
        check_source_counts(name, sources[name])
    totals = {key: sum(counts[key] for counts in sources.values()) for key in ("rows", *PLACES)}
    check_line_counts(totals)
    return {**totals, "sources": sources} | {
        kind: dict(sum((Counter(counts[kind]) for counts in sources.values()), Counter()))
        for kind in ("reasons", "effects")
    }


def count_places(reasons: Counter[str]) -> dict[str, int]:
    """How many rows are in no split, by place."""
    places = {"duplicates": errors.DUPLICATES, "quarantined": errors.QUARANTINED, "set_aside": errors.SET_ASIDE}
    return {place: sum(reasons[reason] for reason in theirs) for place, theirs in places.items()}


def check_source_counts(name: str, counts: dict[str, Any]) -> None:
    if counts["rows"] != sum(counts[place] for place in PLACES):
        raise ValueError(f"{name}: the rows do not add up: {counts}; this is a defect of refrain, report it")


def check_line_counts(totals: dict[str, int]) -> None:
    """As many lines were written as there are rows."""
    lines = {path.stem: count_lines(path) for path in sorted(paths.PREPARED.glob("*.jsonl"))}
    if totals["rows"] != sum(lines.values()) or any(totals[name] != lines[name] for name in SPLITS):
        raise ValueError(f"{paths.PREPARED}: the lines do not add up: {lines} for {totals}; "
                         "this is a defect of refrain, report it")  # fmt: skip


def count_lines(path: Path) -> int:
    """The lines of a file."""
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
