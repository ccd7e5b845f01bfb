"""Variants of training rows, behind them in train.jsonl: none asks what a held-out row asks."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from refrain import augment, contamination, near, paths, workforce
from refrain.config import Data
from refrain.parts import NOTHING, Collected, Part, Reading
from refrain.prompts import TRAIN
from refrain.ragged import Array
from refrain.splits import Placed
from refrain.spool import Spool

BATCH = 2_000


@dataclass(frozen=True)
class Varying:
    """From rows as they stand in train.jsonl to a part of their variants."""

    reading: Reading

    def __call__(self, rows: list[bytes]) -> Part:
        data, seed = self.reading.data, self.reading.seed
        collected = Collected("", data.leaks.run, seed)
        for text in rows:
            for variant in augment.variants(json.loads(text), data.augment, seed):
                collected.rows += 1
                if self.reading.fits(variant):
                    collected.add(variant, None, source=-1, line=-1, offset=-1, nth=0, member=0)
        return collected.part(self.reading.spool)


def write(spool: Spool, placed: Placed, reading: Reading) -> dict[str, int]:
    """Append the variants; how many there are of each kind, and how many were left out: too long, or held out."""
    data, known, made_of = reading.data, len(spool), np.flatnonzero(placed.split == TRAIN)
    if data.augment == NOTHING:
        return {}
    tried = 0
    for part in workforce.mapped(Varying(reading), batches(spool, made_of), data):
        tried += part.rows
        spool.add(part)
    spool.complete()
    made, held = np.arange(known, len(spool)), np.flatnonzero((placed.split != TRAIN) & (placed.owner < 0))
    out = set(colliding(spool, made, held, data).tolist())
    counts = Counter(left_out=tried - len(made) + len(out))
    with (paths.PREPARED / "train.jsonl").open("ab") as file:
        for row, text in zip(made.tolist(), spool.texts(made.tolist()), strict=True):
            if row not in out:
                file.write(text)
                counts[json.loads(text)["id"].rpartition("#")[2].partition("-")[0]] += 1
    return dict(counts)


def batches(spool: Spool, rows: Array) -> Iterator[list[bytes]]:
    for begin in range(0, len(rows), BATCH):
        yield list(spool.texts(rows[begin : begin + BATCH].tolist()))


def colliding(spool: Spool, made: Array, held: Array, data: Data) -> Array:
    """Those of the made rows that ask what a held-out row asks, nearly ask it, or say a long stretch of it."""
    same = made[np.isin(spool["prompt"][made], spool["prompt"][held])]
    dirty = [same, *(nearly(spool, made, held, float(share)) for share in [data.leaks.near] if share is not None)]
    dirty.append(contamination.found(spool, made, held, data)[0])
    return np.unique(np.concatenate(dirty))


def nearly(spool: Spool, made: Array, held: Array, share: float) -> Array:
    sets = spool.ragged("runs").chosen(np.concatenate([held, made]))
    candidates = near.candidates(sets, share)
    found = []
    for place in range(len(held), len(sets)):
        others = candidates.before(place)
        others = others[others < len(held)]
        if len(others) and near.alike(sets[place], sets, others, share).any():
            found.append(made[place - len(held)])
    return np.array(found, np.int64)
