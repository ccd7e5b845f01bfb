"""The corpus: every raw row read once, and counted in exactly one place in the end."""

import json
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

from refrain import files, records, rules, shapes, similarity
from refrain.config import Source
from refrain.raw import RawRow
from refrain.records import Row

log = logging.getLogger(__name__)

PLACES = ("train", "val", "test", "duplicates", "quarantined")


@dataclass
class Item:
    """A row on its way to a split."""

    source: str
    line: int
    row: Row
    split: str | None  # what the source declares, then where the row goes

    def __post_init__(self) -> None:
        turns = [(turn["role"], similarity.plain(turn["content"])) for turn in self.row["messages"][:-1]]
        self.prompt = json.dumps(turns)
        self.wording = [word for role, text in turns if role != "system" for word in similarity.words(text)]


class Dropped(TypedDict):
    """A row that no other stage sees, and why."""

    id: str
    source: str
    line: int
    reason: str  # a rules.Reason, or duplicate, exact_leak, near_leak
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
            except rules.RowError as error:
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
