"""Where GGUF files come from: keys within each of them, the report of their proof, and the manifest beside them."""

import json
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from refrain.evaluation import divergence
from refrain.exporters.gguf.exporter import ProvenFile
from refrain.exporters.gguf.questions import Questions
from refrain.pipeline import manifest, paths

SOURCES = (paths.BASE, paths.PREPARED, paths.ADAPTER, paths.MERGED)
LIBRARIES = ("gguf", "torch", "transformers", "xllamacpp")
MADE_BY = "refrain"
HUB = "https://huggingface.co"


def name_files(kinds: Iterable[str]) -> dict[str, Path]:
    """The file of each type, by the names that llama.cpp's users know: the base, what was made of it, the encoding."""
    return {kind: paths.GGUF / f"{model_name()}-{kind.upper()}.gguf" for kind in kinds}


def model_name() -> str:
    base = read_base()
    stem = Path(base.get("hub") or base.get("folder") or "tiny").name
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', stem)}-{MADE_BY}"


def read_base() -> dict[str, Any]:
    source: dict[str, Any] = json.loads((paths.BASE / "source.json").read_text(encoding="utf-8"))
    return source


def describe_lineage() -> dict[str, str]:
    """Keys that llama.cpp shows or ignores: no clock, no host, no commit, but the md5 by which dvc.lock names each
    source, and so finds the commit."""
    base = read_base()
    keys = {"general.name": model_name(), "general.finetune": MADE_BY}
    if "hub" in base:
        keys |= {"general.source.huggingface.repository": base["hub"], "general.source.url": f"{HUB}/{base['hub']}",
                 "general.source.commit": base["commit"]}  # fmt: skip
    made_of = {f"refrain.{path.name}": manifest.dvc_md5(path) for path in SOURCES}
    return keys | {"refrain.seal": manifest.content_hash(paths.MERGED)} | made_of


def proof_report(questions: Questions, files: Mapping[str, ProvenFile]) -> dict[str, Any]:
    """reports/gguf.json: what llama.cpp was asked, and of each type what was measured and whether it holds."""
    return {
        "prompts": len(questions.sequences),
        "texts": len(questions.prompts),
        "typed_control_tokens": questions.typed,
        "types": {kind: file_facts(file) for kind, file in files.items()},
    }


def file_facts(file: ProvenFile) -> dict[str, Any]:
    """What was measured of a file, and what that says."""
    measured = {} if file.proof is None else divergence.rounded_facts(file.proof)
    return {"file": file.path.name, "reference": "merged", **measured, "fails": file.verdict.fails,
            "missed_by_chance": file.verdict.missed}  # fmt: skip


def manifest_facts() -> dict[str, Any]:
    """What models/gguf/manifest.json says beside the sha256 of every file."""
    return {
        "base": read_base(),
        "data": manifest.sha256_by_file(paths.PREPARED),
        "made_of": {path.as_posix(): manifest.dvc_md5(path) for path in SOURCES},
        "proof": json.loads(paths.GGUF_REPORT.read_text(encoding="utf-8")),
        "versions": {name: version(name) for name in LIBRARIES},
    }
