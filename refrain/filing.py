"""Rows written to the file of their split, and those that repeat one of them to duplicates.jsonl."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from refrain import paths, records, workforce
from refrain.config import Data
from refrain.parts import Dropped
from refrain.prompts import NAMES, NONE
from refrain.ragged import Array
from refrain.splits import Placed
from refrain.spool import AT_ONCE, Spool


@dataclass(frozen=True)
class Filing:
    """Copies rows to where each belongs: their texts lie in one file, and the bytes before them are known."""

    texts: Path
    out: Path

    def __call__(self, rows: tuple[int, Array, Array, Array]) -> None:
        """Rows from a byte of the texts on: their sizes and splits, and for each split where its next row begins."""
        begin, sizes, splits, places = rows
        with self.texts.open("rb") as file:
            file.seek(begin)
            text = file.read(int(sizes.sum()))
        ends = np.cumsum(sizes)
        for split, name in enumerate(NAMES):
            mine = splits == split
            bounds = zip((ends - sizes)[mine].tolist(), ends[mine].tolist(), strict=True)
            with (self.out / f"{name}.jsonl").open("r+b") as file:
                file.seek(int(places[split]))
                file.write(b"".join([text[a:b] for a, b in bounds]))


def write(spool: Spool, placed: Placed, data: Data) -> None:
    """Every row of the spool, in its order, as one line of one file."""
    for name in NAMES:
        (paths.PREPARED / f"{name}.jsonl").touch()
    for _ in workforce.mapped(Filing(spool.folder / "text", paths.PREPARED), portions(spool, placed), data):
        pass
    records.write(paths.PREPARED / "duplicates.jsonl", dropped(spool, placed))


def portions(spool: Spool, placed: Placed) -> Iterator[tuple[int, Array, Array, Array]]:
    """All rows, some at a time."""
    every, places = spool.ragged("text"), np.zeros(len(NAMES), np.int64)
    for some in every.stretches(AT_ONCE):
        if len(some):
            sizes, splits = spool["text"][some], placed.split[some]
            yield int(every.begins[some[0]]), sizes, splits, places.copy()
            places += [sizes[splits == split].sum() for split in range(len(NAMES))]


def dropped(spool: Spool, placed: Placed) -> Iterator[Dropped]:
    """A line for each row that goes nowhere."""
    for row in np.flatnonzero(placed.split == NONE).tolist():
        owner, reason, offset = int(placed.owner[row]), placed.reason[row], int(spool["offset"][row])
        stays = placed.split[owner]
        yield {
            "id": spool.name(row),
            "source": spool.sources[spool["source"][row]],
            "line": int(spool["line"][row]),
            "offset": None if offset < 0 else offset,
            "reason": reason,
            "message": MESSAGES[reason].format(split=NAMES[stays] if stays != NONE else "another file"),
            "of": spool.name(owner),
        }


MESSAGES = {
    "duplicate": "an earlier row asks and answers the same",
    "other_answer": "an earlier row asks the same and answers otherwise",
    "exact_leak": "{split} holds the same question",
    "near_leak": "{split} holds nearly the same question",
    "group_leak": "{split} holds a row of the same group",
    "contaminated": "it says a long stretch of a question in {split}",
}
