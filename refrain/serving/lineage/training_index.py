"""What prepared rows say, as numbers in memory; their texts stay in their files.

Words, n-grams and questions are those by which `prepare` keeps the splits apart, found by the same code.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from refrain.chat import records
from refrain.chat.records import Row
from refrain.data.splitting import ragged
from refrain.data.splitting.ragged import Array
from refrain.data.splitting.row_batches import fold_prompts
from refrain.data.splitting.wordings import Wordings

SPLITS = ("test", "val", "train")  # what was held out first, so that it is there where not all rows are
MAX_ROWS, MAX_WORDS = 200_000, 1 << 24  # that an index holds: 300 MB at the most
BATCH_ROWS = 2000  # that are read at a time
K1, B = 1.2, 0.75  # of BM25: how soon a repeated word is enough, how much a long row is held back
MEMBER_BITS = np.uint64(32)


@dataclass(frozen=True)
class Postings:
    """Who has an element: members ascending within each element, those of element i from starts[i] to starts[i + 1]."""

    elements: Array
    starts: Array
    members: Array

    def find(self, wanted: Array) -> tuple[Array, Array]:
        """The places in `members` of all that have one of the wanted elements, and which of these each one has."""
        if not len(self.elements):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        place = np.minimum(np.searchsorted(self.elements, wanted), len(self.elements) - 1)
        known = np.flatnonzero(self.elements[place] == wanted)
        begins, ends = self.starts[place[known]], self.starts[place[known] + 1]
        places = [np.arange(begin, end) for begin, end in zip(begins, ends, strict=True)]
        return np.concatenate(places or [np.zeros(0, np.int64)]), np.repeat(known, ends - begins)


def make_postings(elements: Array, members: Array) -> Postings:
    """Of pairs of an element and a member, each once."""
    order = np.lexsort((members, elements))
    ordered, members = elements[order], members[order].astype(np.uint32)
    starts = np.flatnonzero(ragged.is_first_of_equals(ordered))
    return Postings(ordered[starts], np.append(starts, len(ordered)), members)


@dataclass(frozen=True)
class RowWords:
    """What some rows say, one array for each kind of number, with the lengths of each row's own."""

    columns: dict[str, Array]
    files: dict[str, Array]  # words, shingles, ngrams, turn_keys: flat

    def owners(self, name: str) -> Array:
        return np.repeat(np.arange(len(self.columns[name])), self.columns[name])


@dataclass(frozen=True)
class TrainingIndex:
    """Rows by number, and who says what."""

    files: list[BinaryIO]  # of SPLITS
    split: Array
    offset: Array  # in the file of the split
    num_rows: int  # in the files, of which the first ones are indexed
    ngram_size: int
    words: Postings
    weights: Array  # BM25 of each pair in `words`
    mean_words: float
    questions: Postings  # keys of what a row asks in whole; 0 and short ones too
    turn_keys: Postings  # keys of all that a row may ask
    shingles: Postings
    ngrams: Postings  # of 2 sets for each row
    num_shingles: Array
    num_ngrams: Array

    def __len__(self) -> int:
        return len(self.split)

    def read_row(self, number: int) -> Row:
        """A row as it was when the index was built."""
        file = self.files[self.split[number]]
        file.seek(int(self.offset[number]))
        row: Row = json.loads(file.readline())
        return row

    def close(self) -> None:
        for file in self.files:
            file.close()


def build_index(folder: Path, ngram_size: int) -> TrainingIndex:
    """The index of the rows of a folder like data/prepared; ValueError where a file of it cannot be read."""
    files: list[BinaryIO] = [(folder / f"{name}.jsonl").open("rb") for name in SPLITS]
    places, batches, num_rows, num_words = list[tuple[int, int]](), list[RowWords](), 0, 0
    has_room = True
    for rows in read_batches(files):
        num_rows += len(rows)
        has_room = has_room and len(places) + len(rows) <= MAX_ROWS and num_words < MAX_WORDS
        if has_room:
            places += [(split, offset) for split, offset, _ in rows]
            batches.append(count_words([row for _, _, row in rows], ngram_size))
            num_words += int(batches[-1].columns["words"].sum())
    split, offset = np.array(places, np.int64).reshape(-1, 2).T
    return assemble_index(
        files, split, offset, join_batches(batches or [count_words([], ngram_size)]), num_rows, ngram_size
    )


def read_batches(files: list[BinaryIO]) -> Iterator[list[tuple[int, int, Row]]]:
    """All rows, some at a time, each with its split and where it stands in the file."""
    batch: list[tuple[int, int, Row]] = []
    for split, file in enumerate(files):
        offset = 0
        for line in file:
            batch.append((split, offset, read_line(line, file, offset)))
            offset += len(line)
            if len(batch) == BATCH_ROWS:
                yield batch
                batch = []
    if batch:
        yield batch


def read_line(line: bytes, file: BinaryIO, offset: int) -> Row:
    try:
        row: Row = json.loads(line)
        if row["messages"][-1]["content"] is not None:
            return row
    except (ValueError, LookupError, TypeError):
        pass
    raise ValueError(
        f"{file.name}: byte {offset} begins no prepared row; `dvc checkout data/prepared` brings them back"
    )


def count_words(rows: list[Row], ngram_size: int) -> RowWords:
    """The words of rows as numbers, as `prepare` counts them."""
    wordings = Wordings()
    for row, prompt in zip(rows, fold_prompts(rows), strict=True):
        replies = [records.whole_text(row["messages"][-1]), *([row["rejected"]] if "rejected" in row else [])]
        wordings.add([turn["role"] for turn in row["messages"][:-1]], prompt, replies)
    return RowWords(*wordings.build(ngram_size))


def join_batches(batches: list[RowWords]) -> RowWords:
    def join(parts: list[dict[str, Array]]) -> dict[str, Array]:
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return RowWords(join([batch.columns for batch in batches]), join([batch.files for batch in batches]))


def assemble_index(
    files: list[BinaryIO], split: Array, offset: Array, said: RowWords, num_rows: int, ngram_size: int
) -> TrainingIndex:
    words, weights, mean_words = weigh_words(said)
    sizes = np.stack([said.columns["prompt_ngrams"], said.columns["ngrams"] - said.columns["prompt_ngrams"]], axis=1)
    sets = np.repeat(np.arange(sizes.size), sizes.ravel())
    return TrainingIndex(
        files, split, offset, num_rows, ngram_size, words, weights, mean_words,
        questions=make_postings(said.columns["question"], np.arange(len(split))),
        turn_keys=make_postings(said.files["turn_keys"], said.owners("turn_keys")),
        shingles=make_postings(said.files["shingles"], said.owners("shingles")),
        ngrams=make_postings(said.files["ngrams"], sets),
        num_shingles=said.columns["shingles"],
        num_ngrams=sizes.ravel(),
    )  # fmt: skip


def weigh_words(said: RowWords) -> tuple[Postings, Array, float]:
    """Each word of each row once, with its weight by BM25; and the mean number of words of a row."""
    owners, num_rows = said.owners("words"), len(said.columns["words"])
    pairs, counts = np.unique(
        said.files["words"].astype(np.uint64) << MEMBER_BITS | owners.astype(np.uint64), return_counts=True
    )
    words, rows = pairs >> MEMBER_BITS, (pairs & np.uint64((1 << 32) - 1)).astype(np.uint32)
    starts = np.flatnonzero(ragged.is_first_of_equals(words))
    postings = Postings(words[starts].astype(np.uint32), np.append(starts, len(words)), rows)
    mean_words = max(1.0, len(owners) / max(1, num_rows))
    rarity = np.repeat(word_rarity(np.diff(postings.starts), num_rows), np.diff(postings.starts))
    weights = rarity * saturate(counts, said.columns["words"][rows] / mean_words)
    return postings, weights.astype(np.float32), mean_words


def word_rarity(num_rows_with: Array, num_rows: int) -> Array:
    """How much a word tells that so many of the rows have."""
    rarity: Array = np.log1p((num_rows - num_rows_with + 0.5) / (num_rows_with + 0.5))
    return rarity


def saturate(counts: Any, relative_length: Any) -> Any:
    """What a word counts that stands so often in a text of so many times the mean length."""
    return counts * (K1 + 1) / (counts + K1 * (1 - B + B * relative_length))
