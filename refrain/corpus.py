"""The corpus: every row of the sources read once, block by block, on all cores."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tqdm import tqdm

from refrain import files, paths, records, shapes, workforce
from refrain.config import Data
from refrain.parts import Portion, Reading
from refrain.spool import Spool


@dataclass
class Tally:
    """What was read, by source: how many rows, why some of them go no further, and what policies changed."""

    rows: Counter[str]
    reasons: dict[str, Counter[str]]
    effects: dict[str, Counter[str]]


@contextmanager
def read(reading: Reading) -> Iterator[tuple[Spool, Tally]]:
    """Every row of the linked files: in the spool, or written to quarantine.jsonl.

    ValueError when a file as a whole makes no sense, or changes while it is read.
    """
    data = reading.data
    names = [records.link(index, source.path).name for index, source in enumerate(data.sources)]
    tally = Tally(Counter(), {name: Counter() for name in names}, {name: Counter() for name in names})
    with (
        Spool(reading.spool, names) as spool,
        (paths.PREPARED / "quarantine.jsonl").open("wb") as quarantine,
        tqdm(unit=" rows", unit_scale=True, disable=None) as bar,
    ):
        for part in workforce.mapped(reading, portions(data), data):
            tally.rows[part.source] += part.rows
            tally.reasons[part.source].update(row["reason"] for row in part.dropped)
            tally.effects[part.source].update(part.effects)
            quarantine.writelines(map(records.line, part.dropped))
            spool.add(part)
            bar.update(part.rows)
        quarantine.close()
        spool.complete()
        yield spool, tally


def portions(data: Data) -> Iterator[Portion]:
    """The sources in blocks."""
    for index, source in enumerate(data.sources):
        file = records.link(index, source.path)
        shape = shapes.recognised(source, files.rows(file))
        for block in files.blocks(file):
            yield Portion(index, file.name, shape, block)
