"""Texts as numbers: one for each word, whatever the case, the width and the white space, and one for each shingle.

A shingle is a run of so many words; two texts have in common what shingles they share.
"""

import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refrain.data.splitting import ragged

WordHashes = NDArray[np.uint32]  # a number for each word, never 0; odd for a symbol, even for letters and digits


Long = NDArray[np.uint64]


Shingles = Long  # a number of 64 bits for each


ShingleSets = NDArray[np.uint32]  # the upper ones: within a few sets, enough to tell shingles apart


Counts = NDArray[np.int64]


SET_BITS = np.uint64(32)


GAP, LETTER, SYMBOL, UNKNOWN = range(4)  # symbols count as words, for 5 + 3 is not 5 - 3


PUNCTUATION = ".,;:!?'\"" + "".join(map(chr, range(0x2018, 0x2020)))  # what does not


FACTOR, MIXING = np.uint64(0xD6E8FEB86659FD93), np.uint64(0x9E3779B97F4A7C15)


BATCH_CHARACTERS = 1 << 17  # characters: what is made of them stays in the cache of a core


def normalise_text(text: str) -> str:
    """The text without differences of width and case."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


def fold_white_space(texts: list[str]) -> list[str]:
    """Each text with one blank for each white space, and none at its ends."""
    return [
        " ".join(text.split()) if is_loose else text
        for text, is_loose in zip(texts, have_loose_space(texts), strict=True)
    ]


def have_loose_space(texts: list[str]) -> list[bool]:
    """False where nothing but single blanks stands between the words of a text, found for all at once; True elsewhere,
    and for what is not ASCII."""
    known = [text if text.isascii() else "\t" for text in texts]
    codes = np.frombuffer("\n".join(["", *known, ""]).encode(), np.uint8)
    is_space, is_beside = codes <= ord(" "), np.zeros(len(codes), bool)  # control characters too, which does no harm
    is_beside[1:] |= is_space[:-1]
    is_beside[:-1] |= is_space[1:]
    loose = np.flatnonzero(is_space & (is_beside | (codes != ord(" "))))  # the ends of texts among them
    lengths = np.array([len(text) for text in known], np.int64)
    starts = np.cumsum(lengths + 1) - lengths
    has_loose: list[bool] = (np.searchsorted(loose, starts) < np.searchsorted(loose, starts + lengths)).tolist()
    return has_loose


def hash_words(texts: list[str]) -> tuple[WordHashes, Counts]:
    """The words of folded texts as numbers, one text after the other, and how many each has.

    A word is a run of letters and digits, or a symbol that is not punctuation. Its number is the same in every process;
    two words share one by chance, once in two billion.
    """
    is_ascii = np.array([text.isascii() for text in texts], bool)  # these are hashed apart, for they take less time
    words_of_ascii, ascii_counts = hash_alike([text for text in texts if text.isascii()])
    words_of_others, other_counts = hash_alike([text for text in texts if not text.isascii()])
    counts = np.zeros(len(texts), np.int64)
    counts[is_ascii], counts[~is_ascii] = ascii_counts, other_counts
    words, stands_in_ascii = np.zeros(counts.sum(), np.uint32), np.repeat(is_ascii, counts)
    words[stands_in_ascii], words[~stands_in_ascii] = words_of_ascii, words_of_others
    return words, counts


def hash_alike(texts: list[str]) -> tuple[WordHashes, Counts]:
    """The words of texts that are all ASCII, or all not."""
    batches = [hash_batch(batch) for batch in text_batches(texts)]
    return np.concatenate([words for words, _ in batches]), np.concatenate([counts for _, counts in batches])


def text_batches(texts: list[str]) -> Iterator[list[str]]:
    """At least one group, of texts that are few enough, or of one that is long."""
    batch: list[str] = []
    size = 0
    for text in texts:
        if batch and size + len(text) > BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += len(text)
    yield batch


def hash_batch(texts: list[str]) -> tuple[WordHashes, Counts]:
    """Polynomial hashes of all words at once, from sums over the whole text."""
    codes, kinds = read_characters("\n".join(texts) + "\n")
    is_symbol, is_letter = kinds == SYMBOL, np.zeros(len(codes) + 2, bool)
    is_letter[1:-1] = kinds == LETTER  # and none before the first and behind the last
    first = np.flatnonzero((is_letter[1:-1] > is_letter[:-2]) | is_symbol)
    last = np.flatnonzero((is_letter[1:-1] > is_letter[2:]) | is_symbol) + 1
    sums = sums_of_powers(codes)
    hashes = (sums[last] - sums[first]) * powers_of_factor(len(codes), inverse=True)[first]
    hashes = (hashes ^ hashes >> np.uint64(29)) * MIXING >> np.uint64(33)
    words = (np.maximum(hashes, np.uint64(1)) << np.uint64(1)).astype(np.uint32) | is_symbol[first]
    ends = np.cumsum([len(one_text) + 1 for one_text in texts])
    return words, np.diff(np.searchsorted(first, ends), prepend=0)


def read_characters(text: str) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """The numbers of all characters, and what each is."""
    if text.isascii():
        codes = text.encode()
        return np.frombuffer(codes, np.uint8), np.frombuffer(codes.translate(ascii_kinds()), np.uint8)
    wide_codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    return wide_codes, character_kinds(wide_codes)


@cache
def ascii_kinds() -> bytes:
    """A table of bytes, for `bytes.translate`, which is several times as fast as that of numpy."""
    return bytes([kind_of(chr(code)) if code < 0x80 else UNKNOWN for code in range(256)])


def kind_of(char: str) -> int:
    is_gap = char.isspace() or char in PUNCTUATION
    return LETTER if char.isalnum() or char == "_" else GAP if is_gap else SYMBOL


def character_kinds(codes: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """What each of these characters is."""
    table = kinds_table()
    kinds = table[codes]
    if (kinds == UNKNOWN).any():
        for code in np.unique(codes[kinds == UNKNOWN]).tolist():
            table[code] = kind_of(chr(code))
        kinds = table[codes]
    return kinds


@cache
def kinds_table() -> NDArray[np.uint8]:
    """What each character of Unicode is, as far as texts had it: to ask for all takes a process a second."""
    return np.full(0x110000, UNKNOWN, np.uint8)


def sums_of_powers(numbers: NDArray[Any]) -> Long:
    """The sums of so many of the first numbers, from none to all, each times its power of FACTOR."""
    sums = np.empty(len(numbers) + 1, np.uint64)
    sums[0] = 0
    np.multiply(numbers, powers_of_factor(len(numbers)), out=sums[1:])
    return np.cumsum(sums, out=sums)


def powers_of_factor(count: int, inverse: bool = False) -> Long:
    """FACTOR ** 0, 1, 2 and so on, modulo 2 ** 64; or one divided by each."""
    size = 1 << max(16, (count - 1).bit_length())
    return progression(size, pow(int(FACTOR), -1, 1 << 64) if inverse else int(FACTOR))[:count]


@cache
def progression(count: int, factor: int) -> Long:
    factors = np.full(count, factor, np.uint64)
    factors[:1] = 1
    return np.cumprod(factors)


def centred_shingles(words: WordHashes, lengths: NDArray[Any], size: int) -> Shingles:
    """For each word the shingle of `size` words around it, with 0 for what lies beyond the two ends of its text."""
    shift = np.repeat(np.arange(len(lengths)) * (size - 1), lengths)  # each text has so many words more, all of them 0
    first = np.arange(len(words)) + shift
    padded = np.zeros(len(words) + len(lengths) * (size - 1), np.uint32)
    padded[first + (size - 1) // 2] = words
    shingles: Shingles = all_shingles(padded, size)[first]
    return shingles


def all_shingles(words: WordHashes, size: int) -> Shingles:
    """The shingle of `size` words from each word on that has so many behind it, also where two texts meet."""
    sums = sums_of_powers(words)
    hashes = (sums[size:] - sums[:-size]) * powers_of_factor(len(words), inverse=True)[: max(0, len(words) - size + 1)]
    return np.asarray((hashes ^ hashes >> np.uint64(29)) * MIXING)


def within_one_text(lengths: NDArray[Any], size: int) -> NDArray[np.bool_]:
    """Which of `all_shingles` lie within one text."""
    text = np.repeat(np.arange(len(lengths)), lengths)
    return np.asarray(text[: max(0, len(text) - size + 1)] == text[size - 1 :])


def shingle_sets(owners: NDArray[Any], shingles: Shingles, count: int) -> tuple[ShingleSets, Counts]:
    """The shingles of each owner that differ, in order, and how many; owners are numbers below `count`."""
    pairs = ragged.sorted_unique(owners.astype(np.uint64) << SET_BITS | shingles >> SET_BITS)
    ends = np.searchsorted(pairs, np.arange(1, count + 1, dtype=np.uint64) << SET_BITS)
    return pairs.astype(np.uint32), np.diff(ends, prepend=0)
