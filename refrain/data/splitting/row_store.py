"""What a worker makes of a block of raw rows: prepared rows as they will be written, and what is known of each.

Prepared rows on their way to a split: what is long waits on disk, what decides about them is in memory.
"""

import fcntl
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, NotRequired, TypedDict

import numpy as np

from refrain.chat import records
from refrain.chat.records import Row
from refrain.data.splitting import shingles
from refrain.data.splitting.ragged import Array, FileArray, RaggedArray

COLUMNS = {
    "source": np.int32,
    "line": np.int64,
    "offset": np.int64,  # -1: none
    "nth": np.int32,  # of the raw rows that begin in the line
    "member": np.int32,  # of the conversations of the raw row
    "prompt": np.uint64,  # all before the last reply, without differences of case and white space
    "said": np.uint64,  # the prompt and the replies
    "group": np.uint64,  # 0: none
    "draw": np.uint64,  # decides on the split
    "pair": np.bool_,  # a preference
    "text": np.int64,  # bytes of the prepared row
    "words": np.int64,
    "asked": np.int64,  # words of the prompt, the first of all; the system's do not count
    "runs": np.int64,
    "text_at": np.int64,  # where in their files these begin
    "words_at": np.int64,
    "runs_at": np.int64,
}


FILE_COLUMNS = {"text": np.uint8, "words": np.uint32, "runs": np.uint64}  # what waits in a file of the spool


class RejectedRow(TypedDict):
    """A row that no other stage sees, and why."""

    id: str
    source: str
    line: int
    offset: int | None
    reason: str  # a rules.Reason
    message: str
    of: NotRequired[str]  # the row that stays in its place


@dataclass
class RowBatch:
    """Rows of one block, column by column; their texts, words and runs are in the files of the spool."""

    source: str
    row_count: int  # read, whatever became of them
    columns: dict[str, Array]
    dropped: list[RejectedRow]
    effects: Counter[str]


@dataclass
class RowBatchBuilder:
    """The rows of a part while it grows."""

    source: str
    shingle_size: int
    seed: int
    row_count: int = 0
    column_values: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in COLUMNS})
    texts: list[bytes] = field(default_factory=list)
    wordings: list[str] = field(default_factory=list)  # of each row the question, then the replies
    dropped: list[RejectedRow] = field(default_factory=list)
    effects: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row, group: str | None, **place: int) -> None:
        """A row, with what is known of it."""
        *asked, reply = row["messages"]
        turns = [(turn["role"], " ".join(shingles.normalise_text(turn["content"]).split())) for turn in asked]
        prompt = json.dumps(turns)
        replies = [reply["content"], row.get("rejected", "")]
        said = "\0".join([prompt, *replies])  # no text holds a NUL
        draw = sha256(f"{self.seed} {prompt if group is None else json.dumps(group)}".encode()).digest()
        text = records.to_json_line(row)
        found: dict[str, int] = {
            **place,
            "prompt": shingles.hash_text(prompt),
            "said": shingles.hash_text(said),
            "group": 0 if group is None else shingles.hash_text(group) or 1,
            "draw": int.from_bytes(draw[:8]),
            "pair": "rejected" in row,
            "text": len(text),
        }
        for column, value in found.items():
            self.column_values[column].append(value)
        self.texts.append(text)
        self.wordings.append("\n".join(text for role, text in turns if role != "system"))
        self.wordings.append(shingles.normalise_text("\n".join(replies)))

    def build(self, spool: Path) -> RowBatch:
        """All rows so far, with what is long in the spool."""
        words, counts = shingles.hash_words(self.wordings)
        asked = counts[::2]
        question = np.repeat(np.arange(len(counts)) % 2 == 0, counts)
        some, several = shingles.shingle_sets(
            shingles.centred_shingles(words[question], asked, self.shingle_size), asked
        )
        measures: dict[str, Any] = {"asked": asked, "words": asked + counts[1::2], "runs": several}
        for name, content in (("text", b"".join(self.texts)), ("words", words.tobytes()), ("runs", some.tobytes())):
            lengths = np.array((self.column_values | measures)[name], np.int64)
            begin = append_locked(spool / name, content) // np.dtype(FILE_COLUMNS[name]).itemsize
            measures[f"{name}_at"] = begin + np.cumsum(lengths) - lengths
        found = self.column_values | measures
        columns: dict[str, Array] = {name: np.array(found[name], kind) for name, kind in COLUMNS.items()}
        return RowBatch(self.source, self.row_count, columns, self.dropped, self.effects)


def append_locked(path: Path, content: bytes) -> int:
    """Write at the end of a file, to which other processes write too; returns the byte at which it begins."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        begin = file.seek(0, os.SEEK_END)
        file.write(content)
    return begin


def make_row_id(source: str, line: int, nth: int, member: int) -> str:
    """The id of a row: unique, and found again in the file."""
    return f"{source}:{line}" + (f".{nth}" if nth > 1 else "") + (f"/{member}" if member > 1 else "")


BATCH_BYTES = 1 << 22  # bytes


@dataclass
class RowStore:
    """Rows in the order of their files. About 140 bytes of memory a row, whatever their length."""

    folder: Path
    sources: list[str]
    files: dict[str, BinaryIO] = field(default_factory=dict)
    pending: list[dict[str, Array]] = field(default_factory=list)
    columns: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.files = {name: (self.folder / name).open("w+b") for name in FILE_COLUMNS}

    def add(self, part: RowBatch) -> None:
        self.pending.append(part.columns)

    def consolidate(self) -> None:
        """All rows so far are in the columns."""
        for name, kind in COLUMNS.items():  # one column after the other, so that only one is in memory twice
            known = self.columns.get(name, np.zeros(0, kind))
            self.columns[name] = np.concatenate([known, *(piece.pop(name) for piece in self.pending)])
        self.pending.clear()

    def __len__(self) -> int:
        return len(self.columns["line"])

    def __getitem__(self, column: str) -> Array:
        return self.columns[column]

    def ragged_column(self, name: str) -> RaggedArray:
        """The text, the words or the runs of each row."""
        begins = self[f"{name}_at"]
        return RaggedArray(FileArray(self.files[name].fileno(), FILE_COLUMNS[name]), begins, begins + self[name])

    def read_texts(self, rows: Iterable[int]) -> Iterator[bytes]:
        """These rows as they will be written."""
        every = self.ragged_column("text")
        for some in every.batches(np.fromiter(rows, np.int64), BATCH_BYTES):
            text, lengths = every.gather(some)
            block, end = text.tobytes(), 0
            for length in lengths.tolist():
                yield block[end : end + length]
                end += length

    def id_of(self, row: int) -> str:
        """The id of a row."""
        source, line, nth, member = (int(self[column][row]) for column in ("source", "line", "nth", "member"))
        return make_row_id(self.sources[source], line, nth, member)

    def __enter__(self) -> "RowStore":
        return self

    def __exit__(self, *error: object) -> None:
        for file in self.files.values():
            file.close()
        shutil.rmtree(self.folder)
