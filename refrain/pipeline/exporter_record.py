"""Which exporter the base stage has chosen, and what a configuration may ask of it: known before a step is trained."""

import json
from collections.abc import Iterator
from pathlib import Path

from refrain.pipeline import paths
from refrain.pipeline.schema import Config, ExportConfig

RECORD = "exporter.json"


def write_record(folder: Path, exporter: str, reason: str | None) -> None:
    """The choice beside the base; `reason` says why the compact graph is not drawn."""
    text = json.dumps({"exporter": exporter, "reason": reason}, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / RECORD).write_text(text + "\n", encoding="utf-8")


def require_exportable(cfg: Config) -> None:
    """ValueError when the graph or a variant that is asked for cannot be made of the base; a check of a stage."""
    path = paths.BASE / RECORD
    if path.is_file():
        record = json.loads(path.read_text(encoding="utf-8"))
        for sentence in find_problems(cfg.export, record["exporter"], record["reason"]):
            raise ValueError(sentence)


def find_problems(export: ExportConfig, exporter: str, reason: str | None) -> Iterator[str]:
    """What a graph traced by optimum cannot be, a sentence each."""
    if exporter == "compact":
        return
    if export.graph == "compact":
        yield f"export.graph=compact is not possible, for {reason}; leave it null"
    for name, variant in export.variants.items():
        if variant.weights.bits == 16:
            yield (
                f"export.variants.{name}.weights.bits=16 needs the compact graph, which is not possible, for {reason}; "
                "leave the variant out: export=fp32"
            )
