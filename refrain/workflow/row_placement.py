"""Where every row of some sources goes, and why: what prepare decides before there is a tokenizer to ask."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from refrain.chat import records
from refrain.chat.records import Row
from refrain.data import split_files, training_rows
from refrain.data.splitting.leakage import SPLITS
from refrain.data.splitting.row_store import RejectedRow, RowStore
from refrain.experiments.data_preview import place_rows
from refrain.pipeline import paths
from refrain.pipeline.schema import DataConfig

QUARANTINE, DUPLICATES = "quarantine.jsonl", "duplicates.jsonl"


@dataclass(frozen=True)
class Placement:
    """The rows of each split, those that are in none with the reason, and the counts of reports/data.json."""

    splits: dict[str, list[Row]]
    rejected: list[RejectedRow]
    report: dict[str, Any]


def place(data: DataConfig, seed: int) -> Placement:
    """Read, clean and split the rows of the sources; ValueError when no row is left to train on, or too many broke."""
    with place_rows(data, seed) as (store, counts, assignment):
        report = split_files.count_rows(store, assignment, counts)
        if problem := training_rows.explain_loss(report, counts.files, data):
            raise ValueError(problem)
        splits = {name: read_split(store, assignment.split == number) for number, name in enumerate(SPLITS)}
        broken = read_lines(store.folder.parent / QUARANTINE)
        is_rejected = np.ones(len(store), bool)
        return Placement(splits, broken + list(split_files.duplicate_rows(store, assignment, is_rejected)), report)


def read_split(store: RowStore, wanted: Any) -> list[Row]:
    """The rows of a split; those of a group have a name of it that tells it from others."""
    places = np.flatnonzero(wanted)
    rows: list[Row] = [json.loads(text) for text in store.read_texts(places.tolist())]
    for row, group in zip(rows, store["group"][places].tolist(), strict=True):
        if group:
            row["group"] = f"{group:016x}"
    return rows


def read_placement(folder: Path, groups: Mapping[str, str]) -> Placement:
    """What the prepare stage has written below a folder, with the group of each row by its id."""
    prepared = folder / paths.PREPARED
    splits = {name: records.read_rows(prepared / f"{name}.jsonl") for name in SPLITS}
    for row in chain.from_iterable(splits.values()):
        if group := groups.get(row.get("parent", row["id"])):
            row["group"] = group
    rejected = read_lines(prepared / QUARANTINE) + read_lines(prepared / DUPLICATES)
    return Placement(splits, rejected, json.loads((folder / paths.DATA_REPORT).read_text(encoding="utf-8")))


def read_lines(path: Path) -> list[RejectedRow]:
    with path.open("rb") as file:
        return [json.loads(line) for line in file]
