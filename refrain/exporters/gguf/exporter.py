"""GGUF files, each written and proven; one that misses its thresholds is not left there."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from refrain.chat.encoding import ChatTokenizer
from refrain.exporters.architectures import families, llama_cpp
from refrain.exporters.gguf import modelfile, proof, writer
from refrain.exporters.gguf.proof import FileProof, FileVerdict
from refrain.exporters.gguf.questions import Questions
from refrain.pipeline.export_schema import GgufConfig

MODELFILE = "Modelfile"  # as Ollama looks for it
CANNOT_STOP = (
    "the chat template ends a reply with %s, which is no control token: llama.cpp stops there if asked to: stop=[%s]"
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProvenFile:
    """A file of one type, what was measured of it, and what that says."""

    path: Path
    proof: FileProof | None  # None: llama.cpp did not open it
    verdict: FileVerdict


def read_context_length(folder: Path) -> int:
    """How many tokens a file made of a model folder sees."""
    decoder, _ = families.read_decoder(folder, headers_only=True)
    return llama_cpp.context_length(decoder, llama_cpp.find_graph(folder))


def export_proven_files(
    merged: Path, names: Mapping[str, Path], gguf: GgufConfig, questions: Questions, lineage: Mapping[str, str]
) -> dict[str, ProvenFile]:
    """A file for each type, unless one that is required fails: then there are none after it."""
    files: dict[str, ProvenFile] = {}
    for kind, path in names.items():
        files[kind] = export_file(merged, path, kind, gguf, questions, lineage)
        if files[kind].verdict.fails and gguf.thresholds[kind].required:
            break
    return files


def export_file(
    merged: Path, path: Path, kind: str, gguf: GgufConfig, questions: Questions, lineage: Mapping[str, str]
) -> ProvenFile:
    """The file of one type, and the proof of it."""
    start, thresholds = monotonic(), gguf.thresholds[kind]
    writer.write_file(merged, path, kind, lineage)
    log.info("%s: %.1f MB written in %.1f s", path, path.stat().st_size / 1e6, monotonic() - start)
    start = monotonic()
    try:
        measured = proof.prove_file(path, questions, llama_cpp.find_graph(merged), thresholds)
    except ValueError as error:
        return ProvenFile(path, None, FileVerdict([f"{kind}: {error}"], []))
    log.info("%s: %s, in %.1f s", path.name, proof.describe(measured), monotonic() - start)
    return ProvenFile(path, measured, proof.judge_file(kind, thresholds, measured))


def remove_failing(files: Mapping[str, ProvenFile], gguf: GgufConfig) -> list[ProvenFile]:
    """Remove the files that fail, say why, and give what is left; ValueError where a required one fails, or all do."""
    failing = {kind: file for kind, file in files.items() if file.verdict.fails}
    for kind, file in failing.items():
        file.path.unlink()
        if not gguf.thresholds[kind].required:
            log.warning("%s is left out: %s", file.path.name, "; ".join(file.verdict.fails))
    for file in files.values():
        if file.verdict.missed and not file.verdict.fails:
            log.warning("%s stays, for chance explains what it misses: %s; more held-out rows would tell "
                        "(gguf.prompts)", file.path.name, "; ".join(file.verdict.missed))  # fmt: skip
    required = [kind for kind in failing if gguf.thresholds[kind].required]
    left = [file for file in files.values() if not file.verdict.fails]
    if required or not left:
        raise ValueError("; ".join(each for kind in required or failing for each in failing[kind].verdict.fails))
    return left


def write_modelfile(
    out: Path, left: list[ProvenFile], tokenizer: ChatTokenizer, questions: Questions, context: int
) -> None:
    """Ollama's Modelfile, of the smallest file that misses nothing."""
    sure = [file for file in left if not file.verdict.missed] or left
    smallest = min(sure, key=lambda file: (file.path.stat().st_size, file.path.name))
    text = modelfile.make_modelfile(smallest.path.name, tokenizer, questions.row_prompts, context)
    (out / MODELFILE).write_text(text, encoding="utf-8")
    if tokenizer.stop_strings:
        text = json.dumps(tokenizer.stop_strings[0], ensure_ascii=False)
        log.warning(CANNOT_STOP, text, text)
