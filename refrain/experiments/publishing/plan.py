"""Which files are published, each with where its bytes are: variants, card, terms, manifest, further weights."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refrain.evaluation.model_card import publication
from refrain.experiments.publishing import secret_files
from refrain.pipeline import front_matter, manifest, paths
from refrain.pipeline.plurals import format_count

PUBLISHED = "published"  # in a manifest: that it is of something published
Content = Path | bytes


@dataclass(frozen=True)
class Plan:
    """Files by the names they are published under, and what is said of them."""

    files: Mapping[str, Content]
    seal: str  # of the variant in best/, as a server says it
    best: str  # what that variant is called

    @property
    def total_bytes(self) -> int:
        """Of all files."""
        return sum(map(content_size, self.files.values()))


def make_plan(variants: Sequence[str], folders: Sequence[Path], card: str, fetch: str) -> Plan:
    """The files of an artifact that is whole; `folders` are further ones, whose files are published beside the card.

    `fetch` is the line by which somebody gets them, empty for a folder.
    """
    facts = manifest.read_manifest(paths.ONNX)
    named = dict(variant_files(variants))
    for folder in folders:
        named |= outer_files(folder, named)
    text = publication.with_files(card, {name: path.stat().st_size for name, path in named.items()}, fetch)
    files: dict[str, Content] = {**named, front_matter.CARD: text.encode()}
    secret_files.refuse_secrets(files)
    hashes = {name: content_sha256(files[name]) for name in sorted(files)}
    kept = {name: value for name, value in facts.items() if name != "files"}
    said = {**kept, PUBLISHED: {"variants": sorted(variants)}, "files": hashes}
    files[manifest.MANIFEST] = (json.dumps(said, indent=2, ensure_ascii=False) + "\n").encode()
    return Plan(dict(sorted(files.items())), manifest.content_hash(paths.ONNX / paths.BEST), facts["best"])


def variant_files(variants: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """The files of these variants, and the terms of the base; ValueError for a variant that is not there."""
    there = sorted({Path(name).parts[0] for name in manifest.read_manifest(paths.ONNX)["files"] if "/" in name})
    for name in variants:
        if name not in there:
            raise ValueError(f"--variants: {paths.ONNX} has no {name}; it has {', '.join(there)}")
    if paths.BEST not in variants:
        raise ValueError(f"--variants: {paths.BEST} has to be among them, for it is what is opened; "
                         "`export.best` says which variant it is")  # fmt: skip
    for name, path in manifest.list_files(paths.ONNX).items():
        first, _, rest = name.partition("/")
        if first in variants if rest else name not in (manifest.MANIFEST, front_matter.CARD):
            yield name, path


def outer_files(folder: Path, taken: Mapping[str, Path]) -> dict[str, Path]:
    """The files of a further folder, for the root of what is published; ValueError where a name is taken."""
    left_out = (manifest.MANIFEST, front_matter.CARD)
    files = {name: path for name, path in manifest.list_files(folder).items() if name not in left_out}
    if both := sorted(files.keys() & taken.keys()):
        raise ValueError(f"{folder}: {both[0]} would be published twice; publish one of the folders alone")
    return files


def content_size(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def content_sha256(content: Content) -> str:
    return hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else manifest.file_sha256(content)


def describe_plan(plan: Plan) -> str:
    """Each file with its size, and all of them."""
    lines = [f"{content_size(content):15,} bytes  {name}" for name, content in plan.files.items()]
    return "\n".join([*lines, describe_total(plan)])


def describe_total(plan: Plan) -> str:
    files, size = format_count(len(plan.files), "file"), f"{plan.total_bytes / 1e6:,.1f} MB"
    return f"{files}, {size}, {plan.best} with the seal {plan.seal[:16]}"


def commit_message(plan: Plan, commit: str) -> str:
    """What a commit of the Hub says: which bytes, and of which commit here."""
    return f"Publish {plan.best}, seal {plan.seal[:16]}\n\nSeal {plan.seal}, of {commit}."


def read_published(text: bytes) -> dict[str, Any] | None:
    """The manifest of what was published earlier; None of one that something else wrote."""
    try:
        facts = json.loads(text)
    except ValueError:
        return None
    is_ours = isinstance(facts, dict) and isinstance(facts.get("files"), dict) and PUBLISHED in facts
    return facts if is_ours else None
