"""Pairs of a training row and a held-out one that anybody would call a leak; shares no code with what made the split.

python tests/support/split_judge.py data/prepared
"""

import json
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path


def words(texts):  # signs too, for 5 + 3 is not 5 - 3
    return tuple(re.findall(r"""\w+|[^\w\s.,;:!?'"\u2018-\u201f]""", "\n".join(texts).lower()))


def ngrams(texts):
    said = re.findall(r"\w+", "\n".join(texts).lower())
    return {tuple(said[at : at + 5]) for at in range(len(said) - 4)}


def describe(messages):
    """The 5-grams of the prompt and of the user's turns, each turn, and each beginning of the chat."""
    turns = [turn for turn in messages if turn["role"] != "system"]
    texts = [turn["content"] for turn in turns]
    asked = [text for turn, text in zip(turns, texts, strict=True) if turn["role"] == "user"]
    beginnings = [words(texts[: end + 1]) for end in range(1, len(texts)) if turns[end]["role"] == "user"]
    return ngrams(texts[:-1]), ngrams(asked), [words([text]) for text in texts] + beginnings, words(texts[:-1])


def find_leaks(train, held_out):
    """(why, place in train, place in held_out) of rows given as lists of messages."""
    train, held_out, leaks = [*map(describe, train)], [*map(describe, held_out)], []
    for kind, why in enumerate(("near prompt", "near questions")):
        index = defaultdict(list)
        for row, described in enumerate(train):
            for ngram in described[kind]:
                index[ngram].append(row)
        for number, described in enumerate(held_out):
            common = Counter(row for ngram in described[kind] for row in index[ngram])
            leaks += [(why, row, number) for row, count in common.items()
                      if count >= 0.8 * len(described[kind] | train[row][kind])]  # fmt: skip
    said = defaultdict(set)
    for row, described in enumerate(train):
        for text in described[2]:
            said[text].add(row)
    for number, described in enumerate(held_out):
        leaks += [("asked", row, number) for row in said[described[3]] if len(described[3]) >= 3]
    return leaks


def read_split(folder, *names):
    return [json.loads(line)["messages"] for name in names for line in (Path(folder) / f"{name}.jsonl").open("rb")]


if __name__ == "__main__":
    train, held_out = read_split(sys.argv[1], "train"), read_split(sys.argv[1], "val", "test")
    leaks = find_leaks(train, held_out)
    print(
        f"{len(train)} training rows, {len(held_out)} held out, {len(leaks)} pairs, {len({x[2] for x in leaks})} rows"
    )
    for why, row, number in leaks[:3]:
        print(why, json.dumps(train[row])[:300], json.dumps(held_out[number])[:300], sep="\n  ")
