"""Where an answer differs from its reference, word by word."""

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import cast

from refrain.evaluation.segmentation import WORD_OR_SIGN
from refrain.experiments.html_report.markup import escape, tag

EDGES = re.compile(r"(\s*)(.*?)(\s*)", re.DOTALL)
SAME, ADDED, MISSING = " ", "+", "-"  # the first character of a piece
LEAST_SHARED = 0.4  # below which the words of the two say nothing beside each other


def find_differences(reference: str, answer: str) -> list[str]:
    """The answer in pieces, each after the sign of what it is; what it lacks of the reference stands where it would be.

    An answer that shares few words with the reference is one added piece, for the two would only be shuffled.
    """
    expected, words = split_words(reference.strip()), split_words(answer.strip())
    plain_expected, plain_words = [word.strip() for word in expected], [word.strip() for word in words]
    if not words:
        return [MISSING + "".join(expected)] if expected else []
    matcher = SequenceMatcher(None, plain_expected, plain_words, autojunk=False)
    if plain_expected != plain_words and matcher.ratio() < LEAST_SHARED:
        return [ADDED + "".join(words)]
    return list(join_pieces(matcher, expected, words))


def split_words(text: str) -> list[str]:
    """Words and signs as the metrics find them, each with the white space before it."""
    ends = [match.end() for match in WORD_OR_SIGN.finditer(text)]
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def join_pieces(matcher: "SequenceMatcher[str]", expected: list[str], words: list[str]) -> Iterator[str]:
    for kind, from_, to, from_word, to_word in matcher.get_opcodes():
        if kind == "equal":
            yield SAME + "".join(words[from_word:to_word])
        if kind in ("delete", "replace"):
            is_spaced = from_word == 0 and expected[to:] and expected[to][0].isspace()
            yield MISSING + "".join(expected[from_:to]) + " " * bool(is_spaced)  # the answer's first word has none
        if kind in ("insert", "replace"):
            yield ADDED + "".join(words[from_word:to_word])


def mark_differences(reference: str, answer: str) -> str:
    """The answer as HTML: <ins> for words that the reference lacks, <del> for those that the answer lacks."""
    return "".join(map(mark_piece, find_differences(reference, answer)))


def mark_piece(piece: str) -> str:
    """As the script of the page does it: white space around words is not marked."""
    if piece[0] == SAME:
        return escape(piece[1:])
    before, words, after = cast(re.Match[str], EDGES.fullmatch(piece, 1)).groups()
    return before + tag("ins" if piece[0] == ADDED else "del", escape(words)) + after
