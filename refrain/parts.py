"""What a worker makes of a block of raw rows: prepared rows as they will be written, and what is known of each."""

import fcntl
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

import numpy as np

from refrain import chat, lengths, policies, records, runs, shapes, wording
from refrain.config import Augment, Data
from refrain.conversations import Conversation
from refrain.files import Block
from refrain.ragged import Array
from refrain.raw import RawRow
from refrain.records import Row
from refrain.rules import RowError
from refrain.shapes import Shape

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
FLAT = {"text": np.uint8, "words": np.uint32, "runs": np.uint64}  # what waits in a file of the spool
FIELDS = ("messages", "rejected", "own_id")  # of a row, in this order


NOTHING = Augment(paraphrases=[], merge_input=False, noise=0.0, truncate=0.0)


class Dropped(TypedDict):
    """A row that no other stage sees, and why."""

    id: str
    source: str
    line: int
    offset: int | None
    reason: str  # a rules.Reason
    message: str
    of: NotRequired[str]  # the row that stays in its place


@dataclass
class Part:
    """Rows of one block, column by column; their texts, words and runs are in the files of the spool."""

    source: str
    rows: int  # read, whatever became of them
    columns: dict[str, Array]
    dropped: list[Dropped]
    effects: Counter[str]


@dataclass(frozen=True)
class Portion:
    """A block of a source, and how its rows are to be read."""

    index: int
    name: str  # of the linked file
    shape: Shape | None
    block: Block


@dataclass(frozen=True)
class Reading:
    """From a portion to a part: all that is done to a row by itself."""

    data: Data
    seed: int
    base: Path
    jinja: str | None
    spool: Path

    def __call__(self, portion: Portion) -> Part:
        collected = Collected(portion.name, self.data.leaks.run, self.seed)
        source = self.data.sources[portion.index]
        for raw in portion.block.rows():
            for member, said in enumerate(shapes.conversations(raw, portion.shape, source, self.data.policies), 1):
                id = name(portion.name, raw.line, raw.nth, member)
                collected.rows += 1
                try:
                    self.take(collected, portion, raw, member, id, said)
                except RowError as error:
                    collected.dropped.append(
                        {
                            "id": id,
                            "source": portion.name,
                            "line": raw.line,
                            "offset": raw.offset,
                            "reason": error.reason,
                            "message": str(error),
                        }
                    )
        return collected.part(self.spool)

    @property
    def fields(self) -> tuple[str, ...]:
        """What is kept of a conversation: where an input begins only if variants are made."""
        return FIELDS if self.data.augment == NOTHING else (*FIELDS, "input_from")

    def take(
        self, collected: "Collected", portion: Portion, raw: RawRow, member: int, id: str, said: Conversation | RowError
    ) -> None:
        """Add the row of a conversation; RowError when it is none or no policy wants it."""
        if isinstance(said, RowError):
            raise said
        effects: Counter[str] = Counter()
        said = policies.applied(said, self.data.policies, effects)
        row = cast(Row, {"id": id} | {name: value for name in self.fields if (value := said.get(name)) is not None})
        talk = spoken(self.base, self.jinja)
        if not lengths.certain(talk, row, self.data.max_tokens):
            fitted, _ = lengths.fitted(talk, row, self.data.max_tokens, self.data.policies.overlong)
            effects["overlong"] += fitted is not row
            row = fitted
        if effects:
            collected.effects.update(effects)
        offset = -1 if raw.offset is None else raw.offset
        collected.add(
            row, said.get("group"), source=portion.index, line=raw.line, offset=offset, nth=raw.nth, member=member
        )

    def fits(self, row: Row) -> bool:
        """Whether a row is no longer than is allowed."""
        talk, limit = spoken(self.base, self.jinja), self.data.max_tokens
        return lengths.certain(talk, row, limit) or lengths.tokens(talk, row, limit) <= limit


@dataclass
class Collected:
    """The rows of a part while it grows."""

    source: str
    run: int
    seed: int
    rows: int = 0
    values: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in COLUMNS})
    texts: list[bytes] = field(default_factory=list)
    wordings: list[str] = field(default_factory=list)  # of each row the question, then the replies
    dropped: list[Dropped] = field(default_factory=list)
    effects: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row, group: str | None, **place: int) -> None:
        """A row, with what is known of it."""
        *asked, reply = row["messages"]
        turns = [(turn["role"], " ".join(wording.folded(turn["content"]).split())) for turn in asked]
        prompt = json.dumps(turns)
        replies = [reply["content"], row.get("rejected", "")]
        said = "\0".join([prompt, *replies])  # no text holds a NUL
        draw = sha256(f"{self.seed} {prompt if group is None else json.dumps(group)}".encode()).digest()
        text = records.line(row)
        found: dict[str, int] = {
            **place,
            "prompt": wording.key(prompt),
            "said": wording.key(said),
            "group": 0 if group is None else wording.key(group) or 1,
            "draw": int.from_bytes(draw[:8]),
            "pair": "rejected" in row,
            "text": len(text),
        }
        for column, value in found.items():
            self.values[column].append(value)
        self.texts.append(text)
        self.wordings.append("\n".join(text for role, text in turns if role != "system"))
        self.wordings.append(wording.folded("\n".join(replies)))

    def part(self, spool: Path) -> Part:
        """All rows so far, with what is long in the spool."""
        words, counts = wording.words(self.wordings)
        asked = counts[::2]
        question = np.repeat(np.arange(len(counts)) % 2 == 0, counts)
        some, several = runs.sets(runs.around(words[question], asked, self.run), asked)
        measures: dict[str, Any] = {"asked": asked, "words": asked + counts[1::2], "runs": several}
        for name, content in (("text", b"".join(self.texts)), ("words", words.tobytes()), ("runs", some.tobytes())):
            lengths = np.array((self.values | measures)[name], np.int64)
            begin = appended(spool / name, content) // np.dtype(FLAT[name]).itemsize
            measures[f"{name}_at"] = begin + np.cumsum(lengths) - lengths
        found = self.values | measures
        columns: dict[str, Array] = {name: np.array(found[name], kind) for name, kind in COLUMNS.items()}
        return Part(self.source, self.rows, columns, self.dropped, self.effects)


def appended(path: Path, content: bytes) -> int:
    """Write at the end of a file, to which other processes write too; returns the byte at which it begins."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        begin = file.seek(0, os.SEEK_END)
        file.write(content)
    return begin


def name(source: str, line: int, nth: int, member: int) -> str:
    """The id of a row: unique, and found again in the file."""
    return f"{source}:{line}" + (f".{nth}" if nth > 1 else "") + (f"/{member}" if member > 1 else "")


@cache
def spoken(base: Path, jinja: str | None) -> chat.Chat:
    """The tokenizer with its template, loaded once for each process."""
    return chat.load(base, jinja)
