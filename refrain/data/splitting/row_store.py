"""Prepared rows on their way to a split: what is long waits on disk, what decides about them is in memory.

Workers build batches of them, one of each block of raw rows, and the store collects the batches in order.
"""

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NotRequired, TypedDict

import numpy as np

from refrain.data.splitting.ragged import Array, FileArray, RaggedArray

COLUMNS = {
    "source": np.int32,
    "line": np.int64,
    "offset": np.int64,  # -1: none
    "nth": np.int32,  # of the raw rows that begin in the line
    "member": np.int32,  # of the conversations of the raw row
    "prompt": np.uint64,  # all before the last reply, without differences of case and white space
    "content": np.uint64,  # the prompt and the replies
    "group": np.uint64,  # 0: none
    "draw": np.uint64,  # decides on the split
    "declared": np.int8,  # the split that its file or the row itself names, by number
    "is_preference": np.bool_,
    "is_bad": np.bool_,  # the row says so of its reply
    "text": np.int64,  # bytes of the prepared row
    "words": np.int64,
    "prompt_words": np.int64,  # words of the prompt, the first of all; the system's do not count
    "is_chat": np.bool_,  # the prompt has several turns
    "question": np.uint64,  # the key of the whole prompt
    "last_question": np.uint64,  # that of its last turn, if it is a chat; 0: too short
    "shingles": np.int64,
    "ngrams": np.int32,  # of the prompt, then of the user's turns alone if it is a chat
    "prompt_ngrams": np.int32,
    "turn_keys": np.int32,  # of the questions that a turn may ask
    "text_at": np.int64,  # where in their files these begin
    "words_at": np.int64,
    "shingles_at": np.int64,
    "ngrams_at": np.int64,
    "turn_keys_at": np.int64,
}


FILE_COLUMNS = {  # what waits in a file of the store
    "text": np.uint8,
    "words": np.uint32,
    "shingles": np.uint32,
    "ngrams": np.uint32,
    "turn_keys": np.uint64,
}


BATCH_BYTES = 1 << 22  # of texts that are read at a time


class RejectedRow(TypedDict):
    """A row that no other stage sees, and why."""

    id: str
    source: str
    line: int
    offset: int | None
    reason: str  # an errors.Reason
    message: str
    of: NotRequired[str]  # the row that stays in its place


@dataclass
class RowBatch:
    """Rows of one block, column by column; their texts, words and shingles are in the files of the store."""

    source: str
    row_count: int  # of the rows that were read, whatever became of them
    columns: dict[str, Array]
    dropped: list[RejectedRow]
    effects: Counter[str]
    ignored: Counter[str]  # fields that nothing reads, by rows


def make_row_id(source: str, line: int, nth: int, member: int) -> str:
    """The id of a row: unique, and found again in the file."""
    return f"{source}:{line}" + (f".{nth}" if nth > 1 else "") + (f"/{member}" if member > 1 else "")


@dataclass
class RowStore:
    """Rows in the order of their files. About 190 bytes of memory a row, whatever their length."""

    folder: Path
    sources: list[str]
    files: dict[str, BinaryIO] = field(default_factory=dict)
    pending: list[dict[str, Array]] = field(default_factory=list)
    columns: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.files = {name: (self.folder / name).open("w+b") for name in FILE_COLUMNS}

    def add(self, batch: RowBatch) -> None:
        self.pending.append(batch.columns)

    def consolidate(self) -> None:
        """All rows so far are in the columns."""
        for name, dtype in COLUMNS.items():  # one column after the other, so that only one is in memory twice
            column = self.columns.get(name, np.zeros(0, dtype))
            self.columns[name] = np.concatenate([column, *(columns.pop(name) for columns in self.pending)])
        self.pending.clear()

    def __len__(self) -> int:
        return len(self.columns["line"])

    def __getitem__(self, column: str) -> Array:
        return self.columns[column]

    def ragged_column(self, name: str) -> RaggedArray:
        """The text, the words or the shingles of each row."""
        starts = self[f"{name}_at"]
        return RaggedArray(FileArray(self.files[name].fileno(), FILE_COLUMNS[name]), starts, starts + self[name])

    def read_texts(self, rows: Iterable[int]) -> Iterator[bytes]:
        """These rows as they will be written."""
        texts = self.ragged_column("text")
        for batch in texts.batches(np.fromiter(rows, np.int64), BATCH_BYTES):
            text, lengths = texts.gather(batch)
            block, start = text.tobytes(), 0
            for length in lengths.tolist():
                yield block[start : start + length]
                start += length

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
