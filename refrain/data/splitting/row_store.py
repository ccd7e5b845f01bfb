"""Prepared rows on their way to a split: what is long waits on disk, what decides about them is in memory.

Workers build batches of them, one of each block of raw rows, and the store collects the batches in order.
"""

import fcntl
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from json.encoder import encode_basestring_ascii as quote_json
from pathlib import Path
from typing import Any, BinaryIO, NotRequired, TypedDict

import numpy as np

from refrain.chat import records
from refrain.chat.records import Row
from refrain.data.splitting import shingles
from refrain.data.splitting.ragged import Array, FileArray, RaggedArray
from refrain.data.splitting.wordings import Wordings

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


@dataclass
class RowBatchBuilder:
    """The rows of a batch while it grows."""

    source: str
    shingle_size: int
    seed: int
    row_count: int = 0
    column_values: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in COLUMNS})
    texts: list[bytes] = field(default_factory=list)
    wordings: Wordings = field(default_factory=Wordings)
    dropped: list[RejectedRow] = field(default_factory=list)
    effects: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row, group: str | None, **place: int) -> None:
        """A row, with what is known of it."""
        *prompt_messages, reply = row["messages"]
        turns = [
            (turn["role"], shingles.fold_white_space(shingles.normalise_text(records.whole_text(turn))))
            for turn in prompt_messages
        ]
        prompt = f"[{', '.join(f'[{quote_json(role)}, {quote_json(text)}]' for role, text in turns)}]"
        said = records.whole_text(reply)
        replies = [said, *([row["rejected"]] if "rejected" in row else [])]
        context = [str(nth) for nth, turn in enumerate(prompt_messages) if "train" in turn]
        tools = [json.dumps(row["tools"])] if "tools" in row else []
        rest = "\0".join(["", said, row.get("rejected", ""), *context, *tools])  # no text holds a NUL
        draw = sha256(f"{self.seed} {prompt if group is None else json.dumps(group)}".encode()).digest()
        prompt_hash, content_hash = shingles.hash_text(prompt, rest)
        text = records.to_json_line(row)
        values: dict[str, int] = {
            **place,
            "prompt": prompt_hash,
            "content": content_hash,
            "group": 0 if group is None else shingles.hash_text(group)[0] or 1,
            "draw": int.from_bytes(draw[:8]),
            "is_preference": "rejected" in row,
            "is_bad": records.has_bad_reply(row),
            "text": len(text),
        }
        for column, value in values.items():
            self.column_values[column].append(value)
        self.texts.append(text)
        self.wordings.add(turns, replies)

    def build(self, folder: Path) -> RowBatch:
        """All rows so far, with what is long in the files of this folder."""
        wording_columns, files = self.wordings.build(self.shingle_size)
        values: dict[str, Any] = self.column_values | wording_columns
        contents = {"text": b"".join(self.texts)} | {name: numbers.tobytes() for name, numbers in files.items()}
        for name, content in contents.items():
            lengths = np.array(values[name], np.int64)
            start = append_locked(folder / name, content) // np.dtype(FILE_COLUMNS[name]).itemsize
            values[f"{name}_at"] = start + np.cumsum(lengths) - lengths
        columns: dict[str, Array] = {name: np.array(values[name], dtype) for name, dtype in COLUMNS.items()}
        return RowBatch(self.source, self.row_count, columns, self.dropped, self.effects, self.ignored)


def append_locked(path: Path, content: bytes) -> int:
    """Write at the end of a file, to which other processes write too; returns the byte at which the content begins."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        start = file.seek(0, os.SEEK_END)
        file.write(content)
    return start


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
