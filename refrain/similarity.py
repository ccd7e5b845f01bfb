"""When two texts are the same, and when they are nearly: by their words, whatever the case and the white space."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable

NEAR = 0.8  # the share of common wording from which two questions are one
WORD = re.compile(r"""\w+|[^\w\s.,;:!?'"\u2018-\u201f]""")  # signs count, for 5 + 3 is not 5 - 3


def plain(text: str) -> str:
    """The text without differences of width, case and white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def words(text: str) -> list[str]:
    return WORD.findall(text)


def shingles(words: list[str]) -> set[str]:
    """All runs of three words, the two ends counted as words; none for a text without words."""
    padded = ["", *words, ""]
    return {" ".join(padded[i : i + 3]) for i in range(len(words))}


def search(known: list[set[str]]) -> Callable[[set[str]], int | None]:
    """Finds the first known set whose Jaccard index with a given one is at least NEAR."""
    frequency = Counter(shingle for one in known for shingle in one)
    index: defaultdict[str, list[int]] = defaultdict(list)

    def rarest(one: set[str]) -> list[str]:
        """So many shingles that two sets which are near have one of them in common."""
        enough = int((1 - NEAR) * len(one) + 1e-9) + 1  # 1e-9: rounding must not cost one
        return sorted(one, key=lambda s: (frequency[s], s))[:enough]

    def near(one: set[str]) -> int | None:
        candidates = {number for shingle in rarest(one) for number in index.get(shingle, ())}
        for number in sorted(candidates):
            common = len(one & known[number])
            if common / (len(one) + len(known[number]) - common) >= NEAR:
                return number
        return None

    for number, one in enumerate(known):
        for shingle in rarest(one):
            index[shingle].append(number)
    return near
