"""The prepare stage as it is often written: datasets.map over all cores, then datasketch's index in one process.

    python benchmarks/harness/prepare_rival.py CACHE WORKERS

In a folder with params.yaml and data/linked; writes data/rival. It has the same rules for a row, its length, its copies
and its near copies, which it compares word by word where the index finds candidates. It does less: no search for runs
of words of held-out rows, no report. The index may miss a near copy, for it compares 128 numbers drawn from each row.
"""

import json
import re
import sys
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, disable_progress_bars, load_dataset
from datasketch import LeanMinHash, MinHash, MinHashLSH
from transformers import AutoTokenizer, logging

from refrain.pipeline import params, paths
from refrain.pipeline.schema import DataConfig

PERMUTATIONS = 128
SCHEME = "affine32"  # numbers of 32 bits
BATCH = 1_000
WORD = re.compile(r"""\w+|[^\w\s.,;:!?'"\u2018-\u201f]""")
BAD = re.compile("[\0\ud800-\udfff]")
OUT = Path("data/rival")


def main() -> None:
    cache_folder, workers = sys.argv[1], int(sys.argv[2])
    data = params.load([]).data
    disable_progress_bars()
    logging.set_verbosity_error()
    files = [str(file.resolve()) for file in sorted(paths.LINKED_DATA.iterdir())]
    lines = load_dataset("text", data_files=files, split="train", cache_dir=cache_folder)
    examine = Examination(data.max_tokens, data.leaks.ngram_size)
    rows = lines.map(examine, batched=True, batch_size=BATCH, num_proc=workers, with_indices=True)
    place, counts = assign_splits(rows, data)
    OUT.mkdir(parents=True, exist_ok=True)
    for name in ("train", "val", "test"):
        chosen = rows.select([number for number, where in enumerate(place) if where == name])
        with (OUT / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(row + "\n" for batch in chosen.iter(BATCH) for row in batch["row"])
    print(json.dumps(Counter(place) | counts))


@cache
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(paths.BASE)


@dataclass
class Examination:
    """What one row says, and what is to be known of it."""

    max_tokens: int
    run: int

    def __call__(self, batch: dict[str, list[str]], numbers: list[int]) -> dict[str, list[Any]]:
        conversations = [parse_conversation(text) for text in batch["text"]]
        chats = [messages for messages in conversations if messages]
        rendered = tokenizer().apply_chat_template(chats, tokenize=False) if chats else []
        lengths = iter(map(len, tokenizer()(rendered, add_special_tokens=False)["input_ids"]) if chats else [])
        rows: defaultdict[str, list[Any]] = defaultdict(list)
        for number, messages in zip(numbers, conversations, strict=True):
            place = "quarantined" if not messages else "set_aside" if next(lengths) > self.max_tokens else ""
            turns = [(turn["role"], normalise(turn["content"])) for turn in messages]
            words = [word for role, text in turns[:-1] if role != "system" for word in WORD.findall(text)]
            rows["place"].append(place)
            rows["row"].append(json.dumps({"id": f"line {number + 1}", "messages": messages}, ensure_ascii=False))
            rows["digest"].append(sha256(json.dumps(turns).encode()).digest())
            rows["words"].append(" ".join(words))
            rows["signature"].append(signature(words, self.run) if not place else [])
        return rows


def parse_conversation(text: str) -> list[dict[str, str]]:
    """The turns of a row; none when it is broken."""
    try:
        messages = [{"role": turn["role"], "content": turn["content"]} for turn in json.loads(text)["messages"]]
    except (ValueError, KeyError, TypeError):
        return []
    roles = [turn["role"] for turn in messages]
    has_text = all(turn["content"].strip() and not BAD.search(turn["content"]) for turn in messages)
    has_roles = {"user", "assistant"} <= set(roles) <= {"system", "user", "assistant"} and roles[-1] == "assistant"
    return messages if has_text and has_roles and "system" not in roles[1:] else []


def normalise(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def runs(words: list[str], size: int) -> set[str]:
    """All runs of so many words, what is beyond the two ends counted as words."""
    padded = [""] * ((size - 1) // 2) + words + [""] * (size // 2)
    return {" ".join(padded[at : at + size]) for at in range(len(words))}


def signature(words: list[str], run: int) -> list[int]:
    minhash = MinHash(PERMUTATIONS, scheme=SCHEME)
    minhash.update_batch([each.encode() for each in runs(words, run)])
    return list(minhash.hashvalues)


def assign_splits(rows: Dataset, data: DataConfig) -> tuple[list[str], Counter[str]]:
    """Where each row goes: copies out, near copies into one split; and how many pairs were near."""
    place: list[str] = list(rows["place"])
    root = list(range(len(place)))
    first: set[bytes] = set()
    threshold = data.leaks.near_duplicate_threshold or 1.0
    index = MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS)
    near = Counter(near_pairs=0)
    for number, row in enumerate(rows.select_columns(["digest", "words", "signature"])):
        if not place[number] and row["digest"] in first:
            place[number] = "duplicates"
        if place[number]:
            continue
        first.add(row["digest"])
        minhash = LeanMinHash(seed=1, hashvalues=np.array(row["signature"], dtype=np.uint32), scheme=SCHEME)
        shingles = runs(row["words"].split(), data.leaks.ngram_size)
        for other in index.query(minhash):
            other_shingles = runs(rows[other]["words"].split(), data.leaks.ngram_size)
            if len(shingles & other_shingles) >= threshold * len(shingles | other_shingles):
                near["near_pairs"] += 1
                root[max(top(root, number), top(root, other))] = min(top(root, number), top(root, other))
        index.insert(number, minhash)
    for number, where in enumerate(place):
        place[number] = where or draw_split(rows[top(root, number)]["words"], data)
    return place, near


def top(root: list[int], number: int) -> int:
    while root[number] != number:
        number = root[number]
    return number


def draw_split(words: str, data: DataConfig) -> str:
    share = int.from_bytes(sha256(words.encode()).digest()[:8]) / 2**64
    if share < data.test_fraction:
        return "test"
    return "val" if share < data.test_fraction + data.val_fraction else "train"


if __name__ == "__main__":
    main()
