"""Prepared rows of one block while it is read, and the batch that becomes of them when all are there."""

import fcntl
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refrain.chat import records
from refrain.chat.records import Row
from refrain.data.splitting import shingles
from refrain.data.splitting.fingerprints import fingerprint_rows
from refrain.data.splitting.ragged import Array
from refrain.data.splitting.row_store import COLUMNS, FILE_COLUMNS, RejectedRow, RowBatch
from refrain.data.splitting.wordings import Wordings


class RowPlace(NamedTuple):
    """Where a row stands in its file."""

    source: int
    line: int
    offset: int
    nth: int
    member: int


NOWHERE = RowPlace(-1, -1, -1, 0, 0)


@dataclass
class RowBatchBuilder:
    """The rows of a batch while it grows."""

    source: str
    shingle_size: int
    seed: int
    row_count: int = 0
    rows: list[Row] = field(default_factory=list)
    groups: list[str | None] = field(default_factory=list)
    places: list[RowPlace] = field(default_factory=list)
    declared: list[int] = field(default_factory=list)  # the split of its file, or its own, by number
    dropped: list[RejectedRow] = field(default_factory=list)
    effects: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row, group: str | None, place: RowPlace, declared: int) -> None:
        """A row, the group that it belongs to, where it stands, and the split that is declared for it."""
        self.rows.append(row)
        self.groups.append(group)
        self.places.append(place)
        self.declared.append(declared)

    def build(self, folder: Path) -> RowBatch:
        """All rows so far, with what is long in the files of this folder."""
        texts = [records.to_json_line(row) for row in self.rows]
        folded_prompts = fold_prompts(self.rows)
        wordings = Wordings()
        for row, prompt in zip(self.rows, folded_prompts, strict=True):
            replies = [records.whole_text(row["messages"][-1])]
            if "rejected" in row:
                replies.append(row["rejected"])
            wordings.add([turn["role"] for turn in row["messages"][:-1]], prompt, replies)
        wording_columns, files = wordings.build(self.shingle_size)
        values: dict[str, Any] = {
            **dict(zip(RowPlace._fields, zip(*self.places, strict=True), strict=False)),  # nothing of no rows
            "declared": self.declared,
            **fingerprint_rows(self.rows, self.groups, folded_prompts, self.seed)._asdict(),
            "is_preference": ["rejected" in row for row in self.rows],
            "is_bad": [records.has_bad_reply(row) for row in self.rows],
            "text": [len(text) for text in texts],
            **wording_columns,
        }
        contents = {"text": b"".join(texts)} | {name: numbers.tobytes() for name, numbers in files.items()}
        for name, content in contents.items():
            lengths = np.array(values[name], np.int64)
            start = append_locked(folder / name, content) // np.dtype(FILE_COLUMNS[name]).itemsize
            values[f"{name}_at"] = start + np.cumsum(lengths) - lengths
        columns: dict[str, Array] = {name: np.array(values.get(name, ()), dtype) for name, dtype in COLUMNS.items()}
        return RowBatch(self.source, self.row_count, columns, self.dropped, self.effects, self.ignored)


def fold_prompts(rows: list[Row]) -> list[list[str]]:
    """Of each row the turns before the last reply, without differences of case, width and white space."""
    prompts = [row["messages"][:-1] for row in rows]
    texts = [shingles.normalise_text(records.whole_text(turn)) for prompt in prompts for turn in prompt]
    folded = iter(shingles.fold_white_space(texts))
    return [[next(folded) for _ in prompt] for prompt in prompts]


def append_locked(path: Path, content: bytes) -> int:
    """Write at the end of a file, to which other processes write too; returns the byte at which the content begins."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        start = file.seek(0, os.SEEK_END)
        file.write(content)
    return start
