"""The balance of a data set: every row that was read is in exactly one place."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

from refrain import paths, rules
from refrain.corpus import Tally
from refrain.prompts import NAMES, NONE
from refrain.splits import Placed
from refrain.spool import Spool

log = logging.getLogger(__name__)

PLACES = (*NAMES, "duplicates", "quarantined", "set_aside")


def drawn_up(spool: Spool, placed: Placed, tally: Tally) -> dict[str, Any]:
    """Where the rows of each source went and why; ValueError when the files of data/prepared hold more or fewer."""
    sources: dict[str, dict[str, Any]] = {}
    for index, name in enumerate(spool.sources):
        mine = spool["source"] == index
        reasons = tally.reasons[name] + Counter(placed.reason[mine & (placed.split == NONE)].tolist())
        places = {split: int((placed.split[mine] == number).sum()) for number, split in enumerate(NAMES)}
        places |= places_of(reasons)
        sources[name] = {"rows": tally.rows[name], **places, "reasons": dict(reasons), "effects": +tally.effects[name]}
        log.info("%s: %s", name, ", ".join(f"{sources[name][key]:,} {key}" for key in ("rows", *PLACES)))
        check(name, sources[name])
    totals = {key: sum(counts[key] for counts in sources.values()) for key in ("rows", *PLACES)}
    check_files(totals)
    return {**totals, "sources": sources} | {
        kind: dict(sum((Counter(counts[kind]) for counts in sources.values()), Counter()))
        for kind in ("reasons", "effects")
    }


def places_of(reasons: Counter[str]) -> dict[str, int]:
    """How many rows are in no split, by place."""
    places = {"duplicates": rules.DUPLICATES, "quarantined": rules.QUARANTINED, "set_aside": rules.SET_ASIDE}
    return {place: sum(reasons[reason] for reason in theirs) for place, theirs in places.items()}


def check(name: str, counts: dict[str, Any]) -> None:
    if counts["rows"] != sum(counts[place] for place in PLACES):
        raise ValueError(f"{name}: the rows do not add up: {counts}; this is a defect of refrain, report it")


def check_files(totals: dict[str, int]) -> None:
    """As many lines were written as there are rows."""
    lines = {path.stem: count(path) for path in sorted(paths.PREPARED.glob("*.jsonl"))}
    if totals["rows"] != sum(lines.values()) or any(totals[name] != lines[name] for name in NAMES):
        raise ValueError(f"{paths.PREPARED}: the lines do not add up: {lines} for {totals}; "
                         "this is a defect of refrain, report it")  # fmt: skip


def count(path: Path) -> int:
    """The lines of a file."""
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
