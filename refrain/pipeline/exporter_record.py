"""Which exporters can draw the base, and what a configuration may ask of it: known before a step is trained."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from refrain.pipeline import paths
from refrain.pipeline.export_schema import ExportConfig, GgufConfig
from refrain.pipeline.schema import Config

RECORD = "exporter.json"
GGUF_PACKAGES = ("gguf", "xllamacpp")


def write_record(folder: Path, exporter: str, reason: str | None, gguf_obstacle: str | None = None) -> None:
    """The choice beside the base; `reason` says why the compact graph is not drawn, `gguf_obstacle` why no GGUF file
    is written."""
    import json

    record = {"exporter": exporter, "reason": reason, "gguf_obstacle": gguf_obstacle}
    text = json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / RECORD).write_text(text + "\n", encoding="utf-8")


def require_exportable(cfg: Config) -> None:
    """ValueError when a graph, a variant or a file that is asked for cannot be made of the base; a check of a stage."""
    import json  # what is refused for a name waits for no JSON

    path = paths.BASE / RECORD
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if record:
        for sentence in find_problems(cfg.export, record["exporter"], record["reason"]):
            raise ValueError(sentence)
    for sentence in find_gguf_problems(cfg.gguf, record.get("gguf_obstacle")):
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


def find_gguf_problems(gguf: GgufConfig, obstacle: str | None) -> Iterator[str]:
    """Why files that are asked for cannot be written here or of this base, a sentence each."""
    if not gguf.types:
        return
    if missing := [name for name in GGUF_PACKAGES if find_spec(name) is None]:
        yield f"gguf.types needs {' and '.join(missing)}: pip install 'refrain-lm[gguf]', or leave it []"
    if obstacle is not None:
        yield f"gguf.types={gguf.types} is not possible, for {obstacle}; leave it []"
