"""Held-out wording within training rows: a run of so many words of a question, wherever a training row says it.

Thirteen words, and none of a phrase that many rows say: after Brown et al. 2020, "Language models are few-shot
learners", appendix C.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from refrain.data.parallel import mapping
from refrain.data.splitting import ragged, shingles
from refrain.data.splitting.ragged import Array, RaggedArray
from refrain.data.splitting.row_store import RowStore
from refrain.pipeline.schema import DataConfig

MAX_COMMON = 10  # words that more questions or more rows say are a phrase, no leak


PHRASE_WORDS = 8  # words; a run that has a phrase in it proves nothing


BATCH_WORDS = 1 << 22  # words for a worker


MAX_SIEVE_BITS = 29  # of the number of a slot in a sieve, at most


def contaminated_rows(spool: RowStore, learned: Array, held: Array, data: DataConfig) -> tuple[Array, Array]:
    """Those of the `learned` rows that say a run of a `held` row's question, and for each the first such row."""
    size = data.leaks.contamination_ngram
    if size is None:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    every = spool.ragged_column("words")
    questions = RaggedArray(every.flat, every.starts, every.starts + spool["asked"]).select(np.sort(held))
    wanted = held_out_shingles(questions, size)
    hits = rows_with_shingles(spool, learned, wanted, size, data)
    telling, which = np.unique(hits[:, 0], return_inverse=True)
    first, places = locate_shingles(questions, wanted[telling], size)
    rare = ~are_common_phrases(spool, learned, places, size, data)
    which, said = which[rare[which]], hits[rare[which], 1]
    order = np.lexsort((first[which], said))
    dirty, earliest = np.unique(said[order], return_index=True)
    return dirty.astype(np.int64), np.sort(held)[first[which[order[earliest]]]]


def held_out_shingles(questions: RaggedArray, size: int) -> Array:
    """The runs of all questions, each once and in order, but for those that more than COMMON questions have."""
    found = []
    for some in questions.batches(np.arange(len(questions))):
        words, lengths = questions.gather(some)
        found.append(shingles.all_shingles(words, size)[shingles.within_one_text(lengths, size)])
    ordered = np.sort(np.concatenate(found))
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)])
    return ordered[first[np.diff(first, append=len(ordered)) <= MAX_COMMON]]


def locate_shingles(questions: RaggedArray, telling: Array, size: int) -> tuple[Array, Array]:
    """For each run the first question that has it, and the place of its first word."""
    first, places = np.zeros(len(telling), np.int64), np.zeros(len(telling), np.int64)
    for some in reversed([*questions.batches(np.arange(len(questions)))] if len(telling) else []):
        words, lengths = questions.gather(some)
        at, run, text = find_shingles(words, lengths, telling, size)
        order = np.argsort(at)[::-1]  # the earliest is written last
        at, run, text = at[order], run[order], text[order]
        first[run] = some[text]
        places[run] = questions.starts[some[text]] + at - (np.cumsum(lengths) - lengths)[text]
    return first, places


def find_shingles(
    words: Array, lengths: Array, wanted: Array, size: int, sieve: Array | None = None
) -> tuple[Array, ...]:
    """Where a wanted run begins, which it is, and in which of the texts."""
    here = shingles.all_shingles(words, size)
    at = np.arange(len(here)) if sieve is None else np.flatnonzero(maybe_member(sieve, here))
    ends = np.cumsum(lengths)
    text = np.searchsorted(ends, at, side="right")
    values, which = np.unique(here[at], return_inverse=True)
    run = np.minimum(np.searchsorted(wanted, values), len(wanted) - 1)
    sure = (wanted[run] == values)[which] & (at + size <= ends[text])
    return at[sure], run[which[sure]], text[sure]


def sieve_slots(numbers: Array, sieve: Array) -> tuple[Array, Array]:
    """Of each number the byte of the sieve, and the bit in it."""
    byte = numbers >> np.uint64(3) & np.uint64(len(sieve) - 1)
    return byte.view(np.int64), (numbers & np.uint64(7)).astype(np.uint8)


def maybe_member(sieve: Array, numbers: Array) -> Array:
    """False for most numbers that are not wanted, and for no wanted one."""
    byte, bit = sieve_slots(numbers, sieve)
    return sieve[byte] >> bit & np.uint8(1)


@dataclass(frozen=True)
class ShingleSearch:
    """Finds wanted runs in the file of words: from rows, as the first, its first word and their lengths, to pairs."""

    file: Path
    wanted: Array
    size: int

    @cached_property
    def sieve(self) -> Array:
        table = np.zeros(1 << (min(MAX_SIEVE_BITS, len(self.wanted).bit_length() + 5) - 3), np.uint8)
        byte, bit = sieve_slots(self.wanted, table)
        np.bitwise_or.at(table, byte, np.left_shift(np.uint8(1), bit))
        return table

    def __call__(self, rows: tuple[int, int, Array]) -> Array:
        """The number of a run and that of a row, each pair once."""
        number, begin, lengths = rows
        found = []
        with self.file.open("rb") as file:
            every = ragged.from_lengths(ragged.FileArray(file.fileno(), np.uint32), lengths, begin)
            for some in every.batches(np.arange(len(every))):
                _, run, text = find_shingles(*every.gather(some), self.wanted, self.size, self.sieve)
                found.append(run << 32 | number + some[text])
        pairs = ragged.sorted_unique(np.concatenate(found))
        return np.stack([pairs >> 32, pairs & 0xFFFFFFFF], axis=1)


def rows_with_shingles(spool: RowStore, rows: Array, wanted: Array, size: int, data: DataConfig) -> Array:
    """Which of the wanted runs stand in which of the rows, but for runs that more than COMMON of them say."""
    among = np.zeros(len(spool), bool)
    among[rows] = True
    counts, found = np.zeros(len(wanted), np.int64), [np.zeros((0, 2), np.int64)]
    search = ShingleSearch(spool.folder / "words", wanted, size)
    for pairs in mapping.parallel_map(search, word_batches(spool), data) if len(wanted) else ():
        pairs = pairs[among[pairs[:, 1]]]
        np.add.at(counts, pairs[:, 0], np.ones(len(pairs), np.int64))
        found.append(pairs[counts[pairs[:, 0]] <= MAX_COMMON])
    hits = np.concatenate(found)
    return hits[counts[hits[:, 0]] <= MAX_COMMON]


def word_batches(spool: RowStore) -> Iterator[tuple[int, int, Array]]:
    """All rows, some at a time: the first one, its first word, and how many words each row has."""
    every = spool.ragged_column("words")
    for some in every.contiguous_batches(BATCH_WORDS):
        if len(some):
            yield int(some[0]), int(every.starts[some[0]]), every.ends[some] - every.starts[some]


def are_common_phrases(spool: RowStore, rows: Array, places: Array, size: int, data: DataConfig) -> Array:
    """For runs of words at these places, whether a part of them is a phrase."""
    part, every = min(size, PHRASE_WORDS), spool.ragged_column("words")
    words, lengths = RaggedArray(every.flat, places, places + size).gather(np.arange(len(places)))
    whole = shingles.within_one_text(lengths, part)
    some, which = np.unique(shingles.all_shingles(words, part)[whole], return_inverse=True)
    rare = np.zeros(len(some), bool)
    rare[rows_with_shingles(spool, rows, some, part, data)[:, 0]] = True  # each is said by a row
    return ~np.asarray(rare[which].reshape(len(places), size - part + 1).all(axis=1))
