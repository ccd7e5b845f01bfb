"""Every row in exactly one place: in the file of its split, or in duplicates.jsonl; counted and held to the files."""

import json
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refrain.chat import records
from refrain.data import rejected_rows
from refrain.data.corpus import SourceCounts
from refrain.data.parallel import mapping
from refrain.data.shapes import errors
from refrain.data.splitting.leakage import NONE, SPLITS
from refrain.data.splitting.ragged import Array
from refrain.data.splitting.row_store import BATCH_BYTES, RejectedRow, RowStore
from refrain.data.splitting.splits import Assignment
from refrain.pipeline import paths
from refrain.pipeline.plurals import format_count
from refrain.pipeline.schema import DataConfig

log = logging.getLogger(__name__)


PLACES = (*SPLITS, "duplicates", "quarantined", "set_aside")


MAX_NAMED_FIELDS = 50  # of those that nothing reads: in some files every row has names of its own


MESSAGES = {
    "duplicate": "an earlier row asks and answers the same",
    "other_label": "it calls the reply good or bad, and another row says the opposite",
    "bad_reply": "its label calls the reply a bad one; method=kto learns from it, but in test",
    "beyond_fraction": "it is no part of the share of the training rows that data.train_fraction takes",
    "other_answer": "an earlier row asks the same and answers otherwise",
    "exact_leak": "{split} holds the same question",
    "near_leak": "{split} holds nearly the same question",
    "group_leak": "{split} holds a row of the same group",
    "contaminated": "it says a long stretch of a question in {split}",
}


def write_splits(store: RowStore, assignment: Assignment, data: DataConfig) -> None:
    """Every row of the store, in its order, as one line of one file."""
    for name in SPLITS:
        (paths.PREPARED / f"{name}.jsonl").touch()
    writer = SplitWriter(store.folder / "text", paths.PREPARED)
    for _ in mapping.parallel_map(writer, row_batches(store, assignment), data):
        pass
    is_set_aside = np.isin(assignment.reason, list(errors.SET_ASIDE))
    records.write_rows(paths.PREPARED / "duplicates.jsonl", duplicate_rows(store, assignment, ~is_set_aside))
    with (paths.PREPARED / "quarantine.jsonl").open("ab") as file:
        file.writelines(map(records.to_json_line, duplicate_rows(store, assignment, is_set_aside)))


def row_batches(store: RowStore, assignment: Assignment) -> Iterator[tuple[int, Array, Array, Array]]:
    """All rows, some at a time, as `SplitWriter` takes them."""
    texts, positions = store.ragged_column("text"), np.zeros(len(SPLITS), np.int64)
    for rows in texts.contiguous_batches(BATCH_BYTES):
        if len(rows):
            sizes, splits = store["text"][rows], assignment.split[rows]
            yield int(texts.starts[rows[0]]), sizes, splits, positions.copy()
            positions += [sizes[splits == split].sum() for split in range(len(SPLITS))]


def duplicate_rows(store: RowStore, assignment: Assignment, wanted: Array) -> Iterator[RejectedRow]:
    """A line for each of the wanted rows that goes nowhere."""
    for row in np.flatnonzero((assignment.split == NONE) & wanted).tolist():
        yield duplicate_row(store, assignment, row)


def duplicate_row(store: RowStore, assignment: Assignment, row: int) -> RejectedRow:
    """A line of duplicates.jsonl, or of quarantine.jsonl for a row that no other one stands in for."""
    owner, reason, offset = int(assignment.owner[row]), assignment.reason[row], int(store["offset"][row])
    owner_split = assignment.split[owner]
    rejected: RejectedRow = {
        "id": store.id_of(row),
        "source": store.sources[store["source"][row]],
        "line": int(store["line"][row]),
        "offset": None if offset < 0 else offset,
        "reason": reason,
        "message": MESSAGES[reason].format(split=SPLITS[owner_split] if owner_split != NONE else "another file"),
    }
    return rejected if owner == row else {**rejected, "of": store.id_of(owner)}


@dataclass(frozen=True)
class SplitWriter:
    """Copies rows to where each belongs: their texts lie in one file, and the bytes before them are known."""

    texts_file: Path
    folder: Path

    def __call__(self, rows: tuple[int, Array, Array, Array]) -> None:
        """Rows from a byte of the texts on: their sizes and splits, and for each split where its next row begins."""
        start, sizes, splits, positions = rows
        with self.texts_file.open("rb") as file:
            file.seek(start)
            text = file.read(int(sizes.sum()))
        ends = np.cumsum(sizes)
        for split, name in enumerate(SPLITS):
            in_split = splits == split
            bounds = zip((ends - sizes)[in_split].tolist(), ends[in_split].tolist(), strict=True)
            with (self.folder / f"{name}.jsonl").open("r+b") as file:
                file.seek(int(positions[split]))
                file.write(b"".join([text[a:b] for a, b in bounds]))


def reconcile(store: RowStore, assignment: Assignment, source_counts: SourceCounts) -> dict[str, Any]:
    """As `count_rows`; ValueError when the files of data/prepared hold more or fewer."""
    report = count_rows(store, assignment, source_counts)
    for name, counts in report["sources"].items():
        log.info("%s: %s", name, describe_places(counts))
        if "bad_replies" in counts:
            log.info("%s: %s", name, describe_bad_replies(counts["bad_replies"]))
        if counts["ignored"]:
            log.info("%s: %s", name, describe_ignored(counts["ignored"]))
    check_line_counts(report)
    return report


def count_rows(store: RowStore, assignment: Assignment, source_counts: SourceCounts) -> dict[str, Any]:
    """Where the rows of each source went and why."""
    sources: dict[str, dict[str, Any]] = {}
    for index, name in enumerate(store.sources):
        of_source = store["source"] == index
        dropped = of_source & (assignment.split == NONE)
        reasons = source_counts.reasons[name] + Counter(assignment.reason[dropped].tolist())
        rejected_rows.add_examples(source_counts.examples[name], first_duplicates(store, assignment, dropped))
        places = {split: int((assignment.split[of_source] == number).sum()) for number, split in enumerate(SPLITS)}
        places |= count_places(reasons)
        sources[name] = {
            "rows": source_counts.rows[name],
            "split": source_counts.splits[name],
            **places,
            "reasons": dict(reasons),
            "examples": source_counts.examples[name],
            "effects": +source_counts.effects[name],
            "ignored": most_frequent(source_counts.ignored[name]),
            "format": source_counts.formats[name],
            **count_bad_replies(assignment.split[of_source & store["is_bad"]]),
            "layout": source_counts.layouts[name].report() if name in source_counts.layouts else None,
        }
        check_source_counts(name, sources[name])
    totals = {key: sum(counts[key] for counts in sources.values()) for key in ("rows", *PLACES)}
    return {**totals, "sources": sources, **describe_short_questions(store, assignment)} | {
        kind: dict(sum((Counter(counts[kind]) for counts in sources.values()), Counter()))
        for kind in ("reasons", "effects")
    }


def first_duplicates(store: RowStore, assignment: Assignment, dropped: Array) -> Iterator[RejectedRow]:
    """Some of these rows, the first ones of each reason."""
    rows = np.flatnonzero(dropped)
    for reason in dict.fromkeys(assignment.reason[rows].tolist()):
        of_reason = rows[assignment.reason[rows] == reason]
        yield from (duplicate_row(store, assignment, row) for row in of_reason[: rejected_rows.MAX_EXAMPLES].tolist())


def describe_ignored(ignored: dict[str, int]) -> str:
    """The fields that nothing reads, and the way out."""
    named = [f"{field} ({format_count(rows, 'row')})" for field, rows in ignored.items()]
    return f"ignored: {', '.join(named)}; map one with fields"


def count_bad_replies(splits: Array) -> dict[str, dict[str, int]]:
    """How many rows have a reply that they call a bad one, by the split that they are in; nothing for none."""
    counts = {name: int((splits == number).sum()) for number, name in enumerate(SPLITS)}
    return {"bad_replies": {name: rows for name, rows in counts.items() if rows}} if any(counts.values()) else {}


def describe_bad_replies(counts: dict[str, int]) -> str:
    """How many rows of which split have a bad reply, and who learns from them."""
    rows = " and ".join(f"{rows:,} of {split}" for split, rows in counts.items())
    return f"{rows} have a bad reply (label false), from which method=kto alone learns"


def describe_short_questions(store: RowStore, assignment: Assignment) -> dict[str, list[dict[str, Any]]]:
    """Questions of declared val and test files that are too short to be kept out of training chats, by name."""
    counts = assignment.short_questions
    rows = sorted(counts, key=lambda row: (-counts[row], row))
    if not rows:
        return {}
    texts = map(json.loads, store.read_texts(rows[:MAX_NAMED_FIELDS]))
    listed = [
        {"id": text["id"], "question": text["messages"][-2]["content"], "training_rows": counts[row]}
        for row, text in zip(rows, texts, strict=False)
    ]
    log.warning(
        "%d held-out questions of one or two words stand in training rows too, as %r does in %d",
        len(rows), listed[0]["question"], listed[0]["training_rows"],
    )  # fmt: skip
    return {"short_questions": listed}


def most_frequent(ignored: Counter[str]) -> dict[str, int]:
    """The fields of most rows, and how many others there are."""
    by_rows = sorted(ignored.items(), key=lambda item: (-item[1], item[0]))
    others = [rows for _, rows in by_rows[MAX_NAMED_FIELDS:]]
    return dict(by_rows[:MAX_NAMED_FIELDS]) | ({f"and {len(others):,} others": sum(others)} if others else {})


def describe_places(counts: dict[str, Any]) -> str:
    """How many rows there are, and how many are in each place that holds some."""
    return ", ".join(
        f"{counts[key]:,} {key.replace('_', ' ')}" for key in ("rows", *PLACES) if counts[key] or key == "rows"
    )


def count_places(reasons: Counter[str]) -> dict[str, int]:
    """How many rows are in no split, by place."""
    places = {"duplicates": errors.DUPLICATES, "quarantined": errors.QUARANTINED, "set_aside": errors.SET_ASIDE}
    return {place: sum(reasons[reason] for reason in place_reasons) for place, place_reasons in places.items()}


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
