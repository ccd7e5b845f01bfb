"""What rows say, as numbers: their words, the n-grams of their prompts, and keys of the questions that they may ask."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from refrain.data.splitting import shingles
from refrain.data.splitting.ragged import Array

NGRAM_WORDS = 5  # in the n-grams by which prompts are compared whatever leaks.ngram_size is; symbols are none of them


MIN_QUESTION_WORDS = 3  # that are left behind a greeting


MAX_GREETING_WORDS = 8  # before a question; and no more than it has itself


MIN_LAST_QUESTION_WORDS = 8  # of a chat, for shorter ones ask nothing without what was said before


class Bounds(NamedTuple):
    """Where rows, or turns, begin and end among the words of all."""

    starts: Array
    ends: Array


@dataclass
class Wordings:
    """The texts of rows while they are collected: of each row the turns of the prompt, then the replies."""

    texts: list[str] = field(default_factory=list)
    is_user: list[bool] = field(default_factory=list)
    prompt_turns: list[int] = field(default_factory=list)
    row_turns: list[int] = field(default_factory=list)

    def add(self, roles: list[str], prompt: list[str], replies: list[str]) -> None:
        """The turns of a normalised prompt, of which the system's do not count, and one reply or more."""
        if "system" in roles:
            prompt = [text for role, text in zip(roles, prompt, strict=True) if role != "system"]
            roles = [role for role in roles if role != "system"]
        self.texts += prompt
        self.texts += [shingles.normalise_text(reply) for reply in replies]
        self.is_user += [role == "user" for role in roles]
        self.is_user += [False] * len(replies)
        self.prompt_turns.append(len(roles))
        self.row_turns.append(len(roles) + len(replies))

    def build(self, shingle_size: int) -> tuple[dict[str, Array], dict[str, Array]]:
        """Columns of the rows, and what waits in files."""
        words, counts = shingles.hash_words(self.texts)
        ends = np.cumsum(counts)
        turns = Bounds(ends - counts, ends)
        row_turns, prompt_turns = np.array(self.row_turns, np.int64), np.array(self.prompt_turns, np.int64)
        first_turn = np.cumsum(row_turns) - row_turns
        prompts = Bounds(turns.starts[first_turn], turns.starts[first_turn + prompt_turns])
        prompt_words = prompts.ends - prompts.starts
        is_in_prompt = np.arange(len(counts)) - np.repeat(first_turn, row_turns) < np.repeat(prompt_turns, row_turns)
        words_of_prompts = words[np.repeat(is_in_prompt, counts)]
        prompt_shingles, shingle_counts = shingles.shingle_sets(
            np.repeat(np.arange(len(row_turns)), prompt_words),
            shingles.centred_shingles(words_of_prompts, prompt_words, shingle_size),
            len(row_turns),
        )
        is_chat = prompt_turns > 1
        asks = np.array(self.is_user, bool)
        is_said_by_user = (asks & np.repeat(is_chat, row_turns))[is_in_prompt]
        ngrams, ngram_counts = ngram_sets(
            words_of_prompts, prompt_words, np.repeat(is_said_by_user, counts[is_in_prompt])
        )
        keys = QuestionKeys(words)
        turn_keys, key_counts = keys.of_turns(turns, asks, np.repeat(prompts.starts, row_turns), row_turns)
        last_turn = first_turn + np.maximum(prompt_turns - 1, 0)
        has_last = is_chat & asks[last_turn] & (counts[last_turn] >= MIN_LAST_QUESTION_WORDS)
        columns: dict[str, Array] = {
            "words": np.add.reduceat(counts, first_turn) if len(first_turn) else counts,
            "prompt_words": prompt_words,
            "is_chat": is_chat,
            "question": keys.of_ranges(prompts.starts, prompts.ends),
            "last_question": np.where(has_last, keys.of_ranges(turns.starts[last_turn], turns.ends[last_turn]), 0),
            "shingles": shingle_counts,
            "ngrams": ngram_counts.sum(axis=1),
            "prompt_ngrams": ngram_counts[:, 0],
            "turn_keys": key_counts,
        }
        return columns, {"words": words, "shingles": prompt_shingles, "ngrams": ngrams, "turn_keys": turn_keys}


def ngram_sets(words: Array, lengths: Array, is_said_by_user: Array) -> tuple[Array, Array]:
    """Of texts of these lengths the n-grams of all words and of those that the user says in a chat, without symbols:
    two sets of each text, and their sizes."""
    is_no_symbol, ends = words & np.uint32(1) == 0, np.cumsum(lengths)
    owners, ngrams = [], []
    for number, is_chosen in enumerate((is_no_symbol, is_no_symbol & is_said_by_user)):
        at = np.flatnonzero(is_chosen)
        chosen = np.diff(np.searchsorted(at, ends), prepend=0)  # words of each text
        ngrams.append(shingles.all_shingles(words[at], NGRAM_WORDS)[shingles.within_one_text(chosen, NGRAM_WORDS)])
        owners.append(np.repeat(np.arange(len(ends)) * 2 + number, np.maximum(chosen - NGRAM_WORDS + 1, 0)))
    sets, sizes = shingles.shingle_sets(np.concatenate(owners), np.concatenate(ngrams), 2 * len(ends))
    return sets, sizes.reshape(-1, 2)


class QuestionKeys:
    """A number for each run of words, of any length."""

    def __init__(self, words: Array) -> None:
        self.sums = shingles.sums_of_powers(words)
        self.inverse_powers = shingles.powers_of_factor(len(words) + 1, inverse=True)

    def of_ranges(self, starts: Array, ends: Array) -> Array:
        """0 for no words."""
        hashes = (self.sums[ends] - self.sums[starts]) * self.inverse_powers[starts]
        keys: Array = (hashes ^ hashes >> np.uint64(29)) * shingles.MIXING
        return keys

    def of_turns(self, turns: Bounds, asks: Array, row_starts: Array, row_turns: Array) -> tuple[Array, Array]:
        """All questions that a row may ask, row by row, and how many: each turn, each of the user's turns without what
        may be a greeting, and the whole up to it."""
        turn, lengths = np.arange(len(asks)), turns.ends - turns.starts
        asking = turn[asks]
        later = asking[turns.starts[asking] > row_starts[asking]]
        ranges = [(turn, turns.starts), (later, row_starts[later])]
        for greeting in range(1, MAX_GREETING_WORDS + 1):
            greeted = asking[lengths[asking] - greeting >= max(MIN_QUESTION_WORDS, greeting)]
            ranges.append((greeted, turns.starts[greeted] + greeting))
        number = np.concatenate([numbers for numbers, _ in ranges])
        row = np.repeat(np.arange(len(row_turns)), row_turns)[number]
        order = np.argsort(row, kind="stable")
        starts = np.concatenate([starts for _, starts in ranges])
        return self.of_ranges(starts[order], turns.ends[number[order]]), np.bincount(row, minlength=len(row_turns))
