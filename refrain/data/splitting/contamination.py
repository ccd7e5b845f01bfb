"""Held-out wording within training rows: a shingle of a question, wherever a training row says it.

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


PHRASE_WORDS = 8  # a shingle that has a phrase in it proves nothing


BATCH_WORDS = 1 << 22  # words for a worker


PIECE_WORDS = 1 << 16  # that are searched at a time: what is made of them stays in the cache of a core


SIEVED_AT_ONCE = 1 << 21  # wanted shingles


MAX_SIEVE_BITS = 29  # of the number of a slot in a sieve


ROW_BITS = 32  # in a pair: a shingle, then the row that says it


def contaminated_rows(store: RowStore, train: Array, held_out: Array, data: DataConfig) -> tuple[Array, Array]:
    """Those of the training rows that say a shingle of a held-out row's question, and for each the first such row."""
    size = data.leaks.contamination_ngram
    if size is None:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    held_out = np.sort(held_out)
    words = store.ragged_column("words")
    questions = RaggedArray(words.flat, words.starts, words.starts + store["prompt_words"]).select(held_out)
    wanted = held_out_shingles(questions, size)
    hit_shingle, hit_row = rows_with_shingles(store, train, wanted, size, data).T
    shingle, shingle_of_hit = np.unique(hit_shingle, return_inverse=True)
    question, place = locate_shingles(questions, wanted[shingle], size)
    is_telling = ~are_common_phrases(store, train, place, size, data)[shingle_of_hit]
    rows, first_question = first_of_each_row(hit_row[is_telling], question[shingle_of_hit[is_telling]])
    return rows, held_out[first_question]


def first_of_each_row(rows: Array, questions: Array) -> tuple[Array, Array]:
    """Of pairs of a row and a question: each row once, ascending, and the first of its questions."""
    order = np.lexsort((questions, rows))
    unique_rows, first = np.unique(rows[order], return_index=True)
    return unique_rows.astype(np.int64), questions[order[first]]


def held_out_shingles(questions: RaggedArray, size: int) -> Array:
    """The shingles of all questions, each once and in order, but for those that more than MAX_COMMON questions have."""
    batches = []
    for numbers in questions.batches(np.arange(len(questions))):
        words, lengths = questions.gather(numbers)
        batches.append(shingles.all_shingles(words, size)[shingles.within_one_text(lengths, size)])
    ordered = np.concatenate(batches)
    batches.clear()
    ordered.sort()
    is_wanted = ragged.is_first_of_equals(ordered)
    is_wanted[:-MAX_COMMON] &= ordered[:-MAX_COMMON] != ordered[MAX_COMMON:]
    return np.asarray(ordered[is_wanted])


def locate_shingles(questions: RaggedArray, wanted: Array, size: int) -> tuple[Array, Array]:
    """For each shingle the first question that has it, and the place of its first word."""
    first, places = np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.int64)
    sieve = build_sieve(wanted)
    for numbers in reversed([*questions.batches(np.arange(len(questions)))] if len(wanted) else []):
        words, lengths = questions.gather(numbers)
        hashes, at, text = sift(words, lengths, sieve, size)
        shingle, is_match = locate(hashes, wanted)
        at, shingle, text = at[is_match], shingle[is_match], text[is_match]
        order = np.argsort(at)[::-1]  # the earliest is written last
        at, shingle, text = at[order], shingle[order], text[order]
        first[shingle] = numbers[text]
        places[shingle] = questions.starts[numbers[text]] + at - (np.cumsum(lengths) - lengths)[text]
    return first, places


def sift(words: Array, lengths: Array, sieve: Array, size: int) -> tuple[Array, Array, Array]:
    """The shingles of these texts that may be wanted, where each begins, and the text of each."""
    hashes, ends = shingles.all_shingles(words, size), np.cumsum(lengths)
    at = maybe_members(sieve, hashes)
    text = np.searchsorted(ends, at, side="right")
    is_within = at + size <= ends[text]
    return hashes[at[is_within]], at[is_within], text[is_within]


def locate(hashes: Array, wanted: Array) -> tuple[Array, Array]:
    """For each number its place among the wanted ones, which are in order, and whether it is one of them."""
    values, value_at = np.unique(hashes, return_inverse=True)  # in order they are found several times as fast
    place = np.minimum(np.searchsorted(wanted, values), len(wanted) - 1)
    return place[value_at], (wanted[place] == values)[value_at]


def build_sieve(wanted: Array) -> Array:
    """A table of bits in which each wanted number has two slots."""
    sieve = np.zeros(1 << (min(MAX_SIEVE_BITS, len(wanted).bit_length() + 5) - 3), np.uint8)
    for start in range(0, len(wanted), SIEVED_AT_ONCE):
        part = wanted[start : start + SIEVED_AT_ONCE]
        for numbers in (part, mix_again(part)):
            slots = np.sort(slots_of(numbers, sieve))  # in order they are marked several times as fast
            np.bitwise_or.at(sieve, (slots >> np.uint64(3)).view(np.int64), bit_of(slots))
    return sieve


def slots_of(numbers: Array, sieve: Array) -> Array:
    """Of each number the slot, a bit of the sieve."""
    return np.asarray(numbers >> np.uint64(64 - MAX_SIEVE_BITS) & np.uint64(8 * len(sieve) - 1))  # the bits mixed best


def mix_again(numbers: Array) -> Array:
    """As many other numbers, of which the slots of the first tell nothing."""
    return np.asarray((numbers ^ numbers >> np.uint64(29)) * shingles.FACTOR)


def maybe_members(sieve: Array, numbers: Array) -> Array:
    """The places of all wanted numbers, and of few others."""
    at = np.flatnonzero(is_marked(sieve, numbers))
    return np.asarray(at[np.flatnonzero(is_marked(sieve, mix_again(numbers[at])))])


def is_marked(sieve: Array, numbers: Array) -> Array:
    slots = slots_of(numbers, sieve)
    return np.asarray(sieve.take((slots >> np.uint64(3)).view(np.int64)) & bit_of(slots) != 0)


def bit_of(slots: Array) -> Array:
    """The bit of each slot in its byte."""
    return np.left_shift(np.uint8(1), (slots & np.uint64(7)).astype(np.uint8))


@dataclass(frozen=True)
class ShingleSearch:
    """Finds wanted shingles in the words of rows, given as the first one, its first word and their lengths.

    What is wanted waits in files of the store, as the words do.
    """

    folder: Path  # of the store
    size: int

    @cached_property
    def sieve(self) -> Array:
        return np.fromfile(self.folder / "sieve", np.uint8)

    @cached_property
    def wanted(self) -> Array:
        return np.asarray(np.memmap(self.folder / "wanted", np.uint64, "r"))

    def __reduce__(self) -> tuple[type["ShingleSearch"], tuple[Path, int]]:
        """To a worker goes where the files are, not what was read of them here."""
        return ShingleSearch, (self.folder, self.size)

    def __call__(self, rows: tuple[int, int, Array]) -> Array:
        """The number of a shingle and that of a row, each pair once."""
        first_row, first_word, lengths = rows
        found, said_by = [], []
        with (self.folder / "words").open("rb") as file:
            texts = ragged.from_lengths(ragged.FileArray(file.fileno(), np.uint32), lengths, first_word)
            for numbers in texts.batches(np.arange(len(texts)), PIECE_WORDS):
                hashes, _, text = sift(*texts.gather(numbers), self.sieve, self.size)
                found.append(hashes)
                said_by.append(first_row + numbers[text])
        shingle, is_match = locate(np.concatenate(found), self.wanted)
        pairs = ragged.sorted_unique(shingle[is_match] << ROW_BITS | np.concatenate(said_by)[is_match])
        return np.stack([pairs >> ROW_BITS, pairs & (1 << ROW_BITS) - 1], axis=1)


def rows_with_shingles(store: RowStore, rows: Array, wanted: Array, size: int, data: DataConfig) -> Array:
    """Which of the wanted shingles stand in which of the rows, but for those that more than MAX_COMMON of them say."""
    is_searched = np.zeros(len(store), bool)
    is_searched[rows] = True
    counts, batches = np.zeros(len(wanted), np.int32), [np.zeros((0, 2), np.int64)]
    wanted.tofile(store.folder / "wanted")
    build_sieve(wanted).tofile(store.folder / "sieve")
    search = ShingleSearch(store.folder, size)
    for pairs in mapping.parallel_map(search, word_batches(store), data) if len(wanted) else ():
        pairs = pairs[is_searched[pairs[:, 1]]]
        np.add.at(counts, pairs[:, 0], np.ones(len(pairs), np.int32))
        batches.append(pairs[counts[pairs[:, 0]] <= MAX_COMMON])
    hits = np.concatenate(batches)
    return hits[counts[hits[:, 0]] <= MAX_COMMON]


def word_batches(store: RowStore) -> Iterator[tuple[int, int, Array]]:
    """All rows, some at a time: the first one, its first word, and how many words each row has."""
    words = store.ragged_column("words")
    for rows in words.contiguous_batches(BATCH_WORDS):
        if len(rows):
            yield int(rows[0]), int(words.starts[rows[0]]), words.ends[rows] - words.starts[rows]


def are_common_phrases(store: RowStore, rows: Array, places: Array, size: int, data: DataConfig) -> Array:
    """For shingles of words at these places, whether a part of them is a phrase."""
    phrase_size, all_words = min(size, PHRASE_WORDS), store.ragged_column("words").flat
    words, lengths = RaggedArray(all_words, places, places + size).gather(np.arange(len(places)))
    is_whole = shingles.within_one_text(lengths, phrase_size)
    phrases, which = np.unique(shingles.all_shingles(words, phrase_size)[is_whole], return_inverse=True)
    is_rare = np.zeros(len(phrases), bool)
    is_rare[rows_with_shingles(store, rows, phrases, phrase_size, data)[:, 0]] = True  # each is said by a row
    return ~np.asarray(is_rare[which].reshape(len(places), size - phrase_size + 1).all(axis=1))
