"""The corpus: every raw row in exactly one place, and nothing in train that a held-out row asks."""

import hashlib
import json
import logging
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

from refrain import files, records, shapes
from refrain.config import Data, Source
from refrain.files import RawRow
from refrain.records import Row

log = logging.getLogger(__name__)

PLACES = ("train", "val", "test", "duplicates", "quarantined")
NEAR = 0.8  # the share of common wording from which two questions are one
WORD = re.compile(r"""\w+|[^\w\s.,;:!?'"\u2018-\u201f]""")  # signs count, for 5 + 3 is not 5 - 3


@dataclass
class Item:
    """A row on its way to a split."""

    source: str
    line: int
    row: Row
    split: str | None  # what the source declares, then where the row goes

    def __post_init__(self) -> None:
        turns = [(turn["role"], plain(turn["content"])) for turn in self.row["messages"][:-1]]
        self.prompt = json.dumps(turns)
        self.wording = [word for role, text in turns if role != "system" for word in WORD.findall(text)]


class Dropped(TypedDict):
    """A row that no other stage sees, and why."""

    id: str
    source: str
    line: int
    reason: str  # a shapes.Reason, or duplicate, exact_leak, near_leak
    message: str
    of: NotRequired[str]  # the row that stays in its place


def read(sources: list[Source]) -> tuple[list[Item], list[Dropped], dict[str, int]]:
    """Every row of the linked files, as an item or quarantined, and how many rows each file holds."""
    items: list[Item] = []
    quarantine: list[Dropped] = []
    sizes: dict[str, int] = {}
    for index, source in enumerate(sources):
        file = records.link(index, source.path)
        raws = list(files.rows(file))
        sizes[file.name] = len(raws)
        shape = shapes.recognised(source, raws)
        for id, raw in identified(file.name, raws):
            try:
                said = shapes.conversation(raw, shape, source.fields)
                items.append(Item(file.name, raw.line, Row(id=id, **said), source.split))
            except shapes.RowError as error:
                quarantine.append(
                    Dropped(id=id, source=file.name, line=raw.line, reason=error.reason, message=str(error))
                )
    return items, quarantine, sizes


def identified(name: str, raws: list[RawRow]) -> Iterator[tuple[str, RawRow]]:
    """Each row with an id of its own: its file and line, and a number from the second row of a line on."""
    seen: Counter[int] = Counter()
    for raw in raws:
        seen[raw.line] += 1
        yield f"{name}:{raw.line}" + (f".{seen[raw.line]}" if seen[raw.line] > 1 else ""), raw


def place(items: list[Item], data: Data, seed: int) -> tuple[list[Item], list[Dropped]]:
    """The items that stay, in their order and each with its split, and those that repeat one of them."""
    kept, leaks = without_leaks(items)
    kept, copies = without_copies(kept)
    for item in kept:
        item.split = item.split or drawn(item.prompt, data, seed)
    kept, near = without_near_leaks(kept)
    return kept, [*leaks, *copies, *near]


def without_leaks(items: list[Item]) -> tuple[list[Item], list[Dropped]]:
    """A prompt of a source with a split is in that split only; test outranks val, and val outranks train."""
    owners: dict[str, Item] = {}
    for split in ("test", "val", "train"):
        for item in items:
            if item.split == split:
                owners.setdefault(item.prompt, item)
    kept, leaks = [], []
    for item in items:
        owner = owners.get(item.prompt, item)
        if owner.split in (item.split, "train"):
            item.split = owner.split
            kept.append(item)
        else:
            leaks.append(dropped(item, "exact_leak", owner, f"{owner.split} holds the same question"))
    return kept, leaks


def without_copies(items: list[Item]) -> tuple[list[Item], list[Dropped]]:
    """Of rows that ask and answer the same, the first."""
    first: dict[tuple[str, str, str | None], Item] = {}
    kept, copies = [], []
    for item in items:
        said = (item.prompt, item.row["messages"][-1]["content"], item.row.get("rejected"))
        if first.setdefault(said, item) is item:
            kept.append(item)
        else:
            copies.append(dropped(item, "duplicate", first[said], "an earlier row asks and answers the same"))
    return kept, copies


def drawn(prompt: str, data: Data, seed: int) -> str:
    """The split of a prompt by its fingerprint, whatever other rows there are."""
    digest = hashlib.sha256(f"{seed} {prompt}".encode()).digest()
    share = int.from_bytes(digest[:8]) / 2**64
    if share < data.test_fraction:
        return "test"
    return "val" if share < data.test_fraction + data.val_fraction else "train"


def without_near_leaks(items: list[Item]) -> tuple[list[Item], list[Dropped]]:
    """Without the rows of train whose question is nearly that of a held-out row."""
    held = [item for item in items if item.split != "train"]
    near = search([shingles(item.wording) for item in held])
    kept, leaks = [], []
    for item in items:
        found = near(shingles(item.wording)) if item.split == "train" else None
        if found is None:
            kept.append(item)
        else:
            owner = held[found]
            leaks.append(dropped(item, "near_leak", owner, f"{owner.split} holds nearly the same question"))
    return kept, leaks


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


def shingles(words: list[str]) -> set[str]:
    """All runs of three words, the two ends counted as words; none for a text without words."""
    padded = ["", *words, ""]
    return {" ".join(padded[i : i + 3]) for i in range(len(words))}


def plain(text: str) -> str:
    """The text without differences of width, case and white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def dropped(item: Item, reason: str, owner: Item, message: str) -> Dropped:
    return {
        "id": item.row["id"],
        "source": item.source,
        "line": item.line,
        "reason": reason,
        "message": message,
        "of": owner.row["id"],
    }


def split(items: list[Item], name: str) -> list[Row]:
    return [item.row for item in items if item.split == name]


def report(
    sizes: dict[str, int], kept: list[Item], duplicates: list[Dropped], quarantine: list[Dropped]
) -> dict[str, Any]:
    """How many rows went where and why; ValueError when a source has lost or gained one."""
    places = Counter((item.source, item.split) for item in kept)
    places.update((row["source"], "duplicates") for row in duplicates)
    places.update((row["source"], "quarantined") for row in quarantine)
    sources = {name: {"rows": size} | {key: places[name, key] for key in PLACES} for name, size in sizes.items()}
    for name, counts in sources.items():
        if 2 * counts["rows"] != sum(counts.values()):
            raise ValueError(f"{name}: the rows do not add up: {counts}; this is a defect of refrain, report it")
        log.info("%s: %s", name, ", ".join(f"{count} {key}" for key, count in counts.items()))
    totals = {key: sum(counts[key] for counts in sources.values()) for key in ("rows", *PLACES)}
    reasons = Counter(row["reason"] for row in [*duplicates, *quarantine])
    return {**totals, "sources": sources, "reasons": dict(reasons)}
