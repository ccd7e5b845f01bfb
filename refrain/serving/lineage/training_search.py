"""Whether a question was learned or held out, and the prepared rows that are most like it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from refrain.chat import records
from refrain.chat.records import Row
from refrain.data.splitting.ragged import Array
from refrain.data.splitting.wordings import MIN_QUESTION_WORDS, NGRAM_WORDS
from refrain.pipeline import manifest, paths
from refrain.serving.lineage import training_index
from refrain.serving.lineage.training_index import SPLITS, RowWords, TrainingIndex
from refrain.serving.models import memory

LINE = re.compile(r"\d+")  # behind it the number of a conversation in the line, and the name of a variant
PREFERENCE = ("train", "val", "test")  # of splits that ask the same, which of them is named


@dataclass(frozen=True)
class SplitPromise:
    """What `prepare` kept apart: prompts that share more than this part of their n-grams of so many words."""

    near_duplicate_threshold: float | None = None  # None: unknown, or only what is equal
    ngram_size: int = NGRAM_WORDS


class TrainingSearch:
    """The search in a folder like data/prepared: indexed at the first question, and anew when its files change."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index: TrainingIndex | None = None
        self._version: list[tuple[int, int]] = []
        self._hashes: dict[str, str] = {}
        self._promise = SplitPromise()

    def search(self, text: str, limit: int, learned: dict[str, str] | None) -> dict[str, Any]:
        """Which split asks this, and the nearest rows; `learned` has the sha256 of each file that a model learned from.

        FileNotFoundError where there are no prepared rows, ValueError where they cannot be read.
        """
        self._refresh()
        assert self._index is not None
        found = search_index(self._index, self._promise, text, limit)
        is_learned = None if learned is None else all(learned.get(name) == self._hashes[name] for name in self._hashes)
        return {**found, "indexed": len(self._index), "rows": self._index.num_rows, "is_data_of_model": is_learned}

    def close(self) -> None:
        if self._index is not None:
            self._index.close()

    def _refresh(self) -> None:
        files = [self._folder / f"{name}.jsonl" for name in SPLITS]
        version = [(stat.st_mtime_ns, stat.st_ino) for stat in (file.stat() for file in files)]
        if version == self._version and self._index is not None:
            return
        self._promise = read_promise(Path("dvc.lock"))
        index = training_index.build_index(self._folder, self._promise.ngram_size)
        self.close()
        self._index, self._version = index, version
        memory.give_back_memory()
        self._hashes = {file.name: manifest.file_sha256(file) for file in files}


def read_promise(lock: Path) -> SplitPromise:
    """By what the rows here were kept apart, as dvc.lock has it."""
    try:
        leaks = yaml.safe_load(lock.read_bytes())["stages"]["prepare"]["params"]["params.yaml"]["data"]["leaks"]
        threshold = leaks["near_duplicate_threshold"]
        return SplitPromise(None if threshold is None else float(threshold), int(leaks["ngram_size"]))
    except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError):
        return SplitPromise()


def search_index(index: TrainingIndex, promise: SplitPromise, text: str, limit: int) -> dict[str, Any]:
    """The row that asks the same, and the nearest ones."""
    question = training_index.count_words(
        [{"id": "", "messages": [{"role": "user", "content": text}, {"role": "assistant", "content": ""}]}],
        index.ngram_size,
    )
    same, near = find_same(index, question), find_near(index, question, promise)
    scores = score_rows(index, question)
    rank = scores + 2.0 * near
    rank[same] += 4.0
    best = np.argsort(-rank, kind="stable")[:limit] if len(rank) <= limit else rank_best(rank, limit)
    matches = {**dict.fromkeys(np.flatnonzero(near).tolist(), "near"), **dict.fromkeys(same.tolist(), "same")}
    nearest = [
        describe_indexed(index, number) | {"score": round(float(scores[number]), 4), "match": matches.get(number)}
        for number in best.tolist()
        if rank[number] > 0
    ]
    return {"asked_in": find_split(index, same, np.flatnonzero(near)), "nearest": nearest}


def rank_best(rank: Array, limit: int) -> Array:
    """The numbers of the highest, falling; of equal ones the first."""
    bar = np.partition(rank, -limit)[-limit]
    candidates = np.flatnonzero(rank >= bar)
    order: Array = candidates[np.argsort(-rank[candidates], kind="stable")][:limit]
    return order


def find_same(index: TrainingIndex, question: RowWords) -> Array:
    """The rows that ask this, a greeting aside, as prepare's exact leaks are found."""
    key, keys = question.columns["question"], question.files["turn_keys"]
    if int(question.columns["prompt_words"][0]) == 0:
        return np.zeros(0, np.int64)
    if int(question.columns["prompt_words"][0]) < MIN_QUESTION_WORDS:
        return index.questions.members[index.questions.find(key)[0]].astype(np.int64)
    asked = [(index.turn_keys, key), (index.questions, np.unique(keys[keys != 0]))]
    found: Array = np.unique(np.concatenate([postings.members[postings.find(wanted)[0]] for postings, wanted in asked]))
    return found.astype(np.int64)


def find_near(index: TrainingIndex, question: RowWords, promise: SplitPromise) -> Array:
    """For each row whether prepare would call it and a row that asks this near duplicates."""
    near = np.zeros(len(index), bool)
    if promise.near_duplicate_threshold is None:
        return near
    by_shingles = jaccard(index.shingles, question.files["shingles"], index.num_shingles)
    own_ngrams = question.files["ngrams"][: question.columns["prompt_ngrams"][0]]
    by_ngrams = jaccard(index.ngrams, own_ngrams, index.num_ngrams).reshape(-1, 2).max(axis=1, initial=0.0)
    is_near: Array = np.maximum(by_shingles, by_ngrams) >= promise.near_duplicate_threshold - 1e-9
    return is_near


def jaccard(sets: training_index.Postings, elements: Array, sizes: Array) -> Array:
    """Of each set the share of elements that it and these have in common."""
    if not len(elements):
        return np.zeros(len(sizes))
    common = np.bincount(sets.members[sets.find(elements)[0]], minlength=len(sizes))
    return np.asarray(common / (len(elements) + sizes - common))


def score_rows(index: TrainingIndex, question: RowWords) -> Array:
    """BM25 of each row, as a share of what the question itself would get: 1 for its words in a text like it."""
    words, counts = np.unique(question.files["words"], return_counts=True)
    places, which = index.words.find(words)
    scores = np.bincount(index.words.members[places], index.weights[places], minlength=len(index))
    num_rows_with = np.bincount(which, minlength=len(words))
    relative_length = counts.sum() / index.mean_words
    own = training_index.word_rarity(num_rows_with, len(index)) * training_index.saturate(counts, relative_length)
    return np.minimum(scores / max(float(own.sum()), 1e-9), 1.0)


def find_split(index: TrainingIndex, same: Array, near: Array) -> dict[str, Any] | None:
    """The first row that asks this, and else the first one near to it; one that was learned before one held out."""
    for rows, match in ((same, "same"), (near, "near")):
        for split in PREFERENCE:
            if len(of_split := rows[index.split[rows] == SPLITS.index(split)]):
                return describe_indexed(index, int(of_split[0])) | {"match": match}
    return None


def describe_indexed(index: TrainingIndex, number: int) -> dict[str, Any]:
    """An indexed row with where it comes from."""
    return describe_row(SPLITS[index.split[number]], index.read_row(number))


def describe_row(split: str, row: Row) -> dict[str, Any]:
    """A row with where it comes from."""
    asked = [message for message in row["messages"] if message["role"] == "user"]
    source, line = find_source(row["id"])
    return {
        "split": split,
        "id": row["id"],
        "source": source,
        "line": line,
        "question": asked[-1]["content"] if asked else "",
        "answer": records.whole_text(row["messages"][-1]),
        **({"rejected": row["rejected"]} if "rejected" in row else {}),
        **({"parent": row["parent"]} if "parent" in row else {}),
    }


def find_source(row_id: str) -> tuple[str, int | None]:
    """The file of a row, as it is called in this repository, and the line in it, as far as its id tells."""
    name, _, place = row_id.rpartition(":")
    line = LINE.match(place)
    link, here = paths.LINKED_DATA / name, Path.cwd().resolve()
    target = link.resolve() if link.exists() else find_configured(name).resolve()
    file = target.relative_to(here) if target.is_relative_to(here) else link
    return str(file) if name else row_id, int(line[0]) if line else None


def find_configured(name: str) -> Path:
    """Where params.yaml has the file of a source, for a clone in which compose has linked none."""
    link = paths.LINKED_DATA / name
    number, _, _ = name.partition("-")
    try:
        data = yaml.safe_load(paths.PARAMS.read_bytes())["data"]
        source = Path(data["folder"], data["sources"][int(number)]["path"])
    except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError):
        return link
    place = source / name.partition("/")[2] if source.is_dir() else source
    return place if place.exists() and link.name.endswith(place.name) else link
