"""One split for every question: nothing stands twice, and train holds nothing that a held-out row asks."""

import hashlib

from refrain import similarity
from refrain.config import Data
from refrain.corpus import Dropped, Item
from refrain.records import Row


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
    near = similarity.search([similarity.shingles(item.wording) for item in held])
    kept, leaks = [], []
    for item in items:
        found = near(similarity.shingles(item.wording)) if item.split == "train" else None
        if found is None:
            kept.append(item)
        else:
            owner = held[found]
            leaks.append(dropped(item, "near_leak", owner, f"{owner.split} holds nearly the same question"))
    return kept, leaks


def dropped(item: Item, reason: str, owner: Item, message: str) -> Dropped:
    return {
        "id": item.row["id"],
        "source": item.source,
        "line": item.line,
        "reason": reason,
        "message": message,
        "of": owner.row["id"],
    }


def rows(items: list[Item], name: str) -> list[Row]:
    return [item.row for item in items if item.split == name]
