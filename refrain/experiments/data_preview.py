"""What is learned from files of rows, before there is a model: read and placed as the prepare stage does it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refrain.chat.records import Row, has_bad_reply, is_learned, whole_text
from refrain.data import corpus, datasheet, split_files, training_rows
from refrain.data.corpus import SourceCounts
from refrain.data.row_preparer import RowPreparer
from refrain.data.splitting import splits
from refrain.data.splitting.leakage import NONE, TRAIN
from refrain.data.splitting.row_store import RowStore
from refrain.data.splitting.splits import Assignment
from refrain.experiments import links
from refrain.pipeline.schema import DataConfig


@dataclass(frozen=True)
class DataPreview:
    report: dict[str, Any]  # as reports/data.json has it
    lengths: dict[str, list[int]]  # of rows, or of some of them by chance
    samples: list[Row]
    problem: str  # why nothing, or too little, can be learned; else nothing


def preview_data(data: DataConfig, seed: int) -> DataPreview:
    """What prepare would make of the sources; what a template or a tokenizer decides is left open."""
    with place_rows(data, seed) as (store, counts, assignment):
        report = split_files.count_rows(store, assignment, counts)
        problem = training_rows.explain_loss(report, counts.files, data)
        measured = datasheet.sample_rows(
            store,
            np.flatnonzero(assignment.split != NONE),
            datasheet.MAX_MEASURED_ROWS,
            datasheet.MAX_MEASURED_BYTES,
        )
        lengths = measure_lengths(list(datasheet.read_rows(store, measured)))
        shown = datasheet.sample_rows(store, np.flatnonzero(assignment.split == TRAIN), datasheet.SAMPLE_ROWS)
        return DataPreview(report, lengths, list(datasheet.read_rows(store, shown)), problem)


@contextmanager
def place_rows(data: DataConfig, seed: int) -> Iterator[tuple[RowStore, SourceCounts, Assignment]]:
    """Every row of the sources with its split, by what prepare does to rows before it asks a tokenizer."""
    with tempfile.TemporaryDirectory(prefix="refrain-") as scratch:
        linked = Path(scratch, "linked")
        linked.mkdir()
        links.link_sources(data, linked)
        preparer = RowPreparer(data, seed, None, None, linked, Path(scratch, ".rows"))
        with corpus.read_corpus(preparer) as (store, counts):
            yield store, counts, splits.assign_splits(store, data)


def measure_lengths(rows: list[Row]) -> dict[str, list[int]]:
    """Characters and words of each row, and of its trained text."""
    texts = {
        "whole row": [[whole_text(message) for message in row["messages"]] for row in rows],
        "trained text": [
            [whole_text(message) for message in row["messages"] if is_learned(message)]
            for row in rows
            if not has_bad_reply(row)
        ],
    }
    units = {"characters": len, "words": lambda text: len(text.split())}
    return {
        f"{part}, {unit}": [sum(map(count, of_row)) for of_row in of_rows]
        for part, of_rows in texts.items()
        for unit, count in units.items()
    }
