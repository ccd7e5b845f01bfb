"""Chats as people collect them, about 2 KB each, the same for a number of rows every time: JSON Lines of any size.

Words are drawn as in a language, few of them often and many seldom. Among the rows are exact and near copies of
earlier ones, questions below a long instruction that many share, other scripts, and some that are broken.
"""

import json
import random
import re
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np

SHARES = {"copy": 0.03, "near": 0.03, "templated": 0.2, "foreign": 0.05, "broken": 0.005}  # the others are plain
VOCABULARY = 50_000
RANKS = 1 << 20  # as many draws as the rarest words need
SENTENCE = [2, *[0] * 10, 1]  # forms of its words: with a capital, plain, with a full stop
DRAWN = 40_000  # sentences at a time
REMEMBERED = 20_000  # earlier rows that may be copied
SYLLABLES = ["".join(pair) for pair in product([*"bdfgklmnprstvz", "br", "tr"], [*"aeiou", "ai", "ou", "er", "in"])]
SCRIPTS = (
    "αβγδεζηθικλμνξοπρστ",
    "абвгдежзиклмнопрсту",
    "的一是不了人我在有他这中大来上国到说",
    "éèüöäñçøåßæœłőșțğışž🙂🌧🐟",
)
Messages = list[dict[str, Any]]


def write(path: Path, count: int, corpus: Path) -> None:
    """So many rows; the most frequent words are those of a text."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(lines(count, corpus.read_text(encoding="utf-8")))


def lines(count: int, corpus: str) -> Iterator[str]:
    maker, encoded = Maker(vocabulary(corpus)), json.JSONEncoder(ensure_ascii=False).encode
    kinds = np.random.default_rng(2).choice([*SHARES, "plain"], count, p=[*SHARES.values(), 1 - sum(SHARES.values())])
    for number, kind in enumerate(kinds.tolist()):
        row = encoded({"id": number, "messages": maker.messages(kind)})
        yield (BROKEN[number % len(BROKEN)](row) if kind == "broken" else row) + "\n"


BROKEN = (
    lambda row: row[: len(row) // 2],
    lambda row: row.replace('"messages"', '"message"'),
    lambda row: row.replace('"role": "assistant"', '"role": "oracle"'),
    lambda row: row.replace('"role": "assistant"', '"role": "user"'),
    lambda row: row.replace(" ", "\\u0000", 9),
    lambda row: re.sub(r'("assistant", "content": ").*?"}', r'\1 "}', row),
)


def vocabulary(corpus: str) -> list[str]:
    """Words by rank: those of the text, then made-up ones; then the same again in other scripts."""
    known = list(dict.fromkeys(re.findall(r"[a-z]+", corpus.lower())))
    made = ("".join(parts) for size in (2, 3) for parts in product(SYLLABLES, repeat=size))
    words = list(islice(dict.fromkeys([*known, *islice(made, VOCABULARY)]), VOCABULARY))
    return words + [foreign(word, SCRIPTS[rank % len(SCRIPTS)]) for rank, word in enumerate(words)]


def foreign(word: str, script: str) -> str:
    return "".join(script[ord(letter) % len(script)] for letter in word)


class Maker:
    """Draws words in advance, many at a time: in our script, and in foreign ones."""

    def __init__(self, words: list[str]) -> None:
        self._rng, self._chance = np.random.default_rng(1), random.Random(1).random
        weights = np.cumsum(1 / (np.arange(VOCABULARY) + 2.7))
        self._ranks = np.searchsorted(weights, (np.arange(RANKS) + 0.5) / RANKS * weights[-1])
        forms = [words, [word + "." for word in words], [word.capitalize() for word in words]]
        self._forms = np.array(forms, dtype=object).reshape(3, 2, VOCABULARY)
        self._drawn: list[list[str]] = [[], []]
        self._templates = [self.draw_words(18) for _ in range(20)]
        self._earlier: list[tuple[Messages, list[str], str]] = []  # turns before a question, the question, its answer

    def messages(self, kind: str) -> Messages:
        """One conversation: half of them a question and an answer, half a chat."""
        known = kind in ("copy", "near") and bool(self._earlier)
        before, question, answer = self.choose(self._earlier) if known else self.new_conversation(kind)
        if known and kind == "near":
            at = self.below(len(question))
            question, answer = (
                [*question[:at], *self.draw_words(1), *question[at + 1 :]],
                " ".join(self.draw_words(160)),
            )
        return [*before, {"role": "user", "content": " ".join(question)}, {"role": "assistant", "content": answer}]

    def new_conversation(self, kind: str) -> tuple[Messages, list[str], str]:
        size, foreign = 50 + self.below(70), kind == "foreign"
        before: Messages = []
        if size % 2:
            if size % 10 == 1:
                before.append({"role": "system", "content": "You are a patient assistant."})
            before.append({"role": "user", "content": " ".join(self.draw_words(30, foreign))})
            before.append({"role": "assistant", "content": " ".join(self.draw_words(60, foreign))})
        above = self.choose(self._templates) if kind == "templated" else []
        conversation = before, above + self.draw_words(size, foreign), " ".join(self.draw_words(size * 2, foreign))
        if len(self._earlier) < REMEMBERED:
            self._earlier.append(conversation)
        elif size % 4 == 0:
            self._earlier[self.below(REMEMBERED)] = conversation
        return conversation

    def below(self, limit: int) -> int:
        return int(self._chance() * limit)

    def choose(self, items: list[Any]) -> Any:
        return items[self.below(len(items))]

    def draw_words(self, size: int, foreign: bool = False) -> list[str]:
        """Words with a full stop and a capital after each twelfth."""
        if size > len(self._drawn[foreign]):
            ranks = self._ranks[self._rng.integers(0, RANKS, (DRAWN, 12))]
            self._drawn[foreign] = self._forms[SENTENCE, int(foreign), ranks].ravel().tolist()
        words = self._drawn[foreign][-size:]
        del self._drawn[foreign][-size:]
        return words
