"""Prepared rows on their way to a split: what is long waits on disk, what decides about them is in memory."""

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from refrain import parts
from refrain.parts import COLUMNS, FLAT, Part
from refrain.ragged import Array, Ragged, Stored

AT_ONCE = 1 << 22  # bytes


@dataclass
class Spool:
    """Rows in the order of their files. About 140 bytes of memory a row, whatever their length."""

    folder: Path
    sources: list[str]
    files: dict[str, BinaryIO] = field(default_factory=dict)
    pieces: list[dict[str, Array]] = field(default_factory=list)
    columns: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.files = {name: (self.folder / name).open("w+b") for name in FLAT}

    def add(self, part: Part) -> None:
        self.pieces.append(part.columns)

    def complete(self) -> None:
        """All rows so far are in the columns."""
        for name, kind in COLUMNS.items():  # one column after the other, so that only one is in memory twice
            known = self.columns.get(name, np.zeros(0, kind))
            self.columns[name] = np.concatenate([known, *(piece.pop(name) for piece in self.pieces)])
        self.pieces.clear()

    def __len__(self) -> int:
        return len(self.columns["line"])

    def __getitem__(self, column: str) -> Array:
        return self.columns[column]

    def ragged(self, name: str) -> Ragged:
        """The text, the words or the runs of each row."""
        begins = self[f"{name}_at"]
        return Ragged(Stored(self.files[name].fileno(), FLAT[name]), begins, begins + self[name])

    def texts(self, rows: Iterable[int]) -> Iterator[bytes]:
        """These rows as they will be written."""
        every = self.ragged("text")
        for some in every.portions(np.fromiter(rows, np.int64), AT_ONCE):
            text, lengths = every.taken(some)
            block, end = text.tobytes(), 0
            for length in lengths.tolist():
                yield block[end : end + length]
                end += length

    def name(self, row: int) -> str:
        """The id of a row."""
        source, line, nth, member = (int(self[column][row]) for column in ("source", "line", "nth", "member"))
        return parts.name(self.sources[source], line, nth, member)

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *error: object) -> None:
        for file in self.files.values():
            file.close()
        shutil.rmtree(self.folder)
