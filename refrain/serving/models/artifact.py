"""What a folder with a model is: its variant, the seal of its bytes, the commit that recorded it."""

import hashlib
import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refrain.experiments import lineage
from refrain.pipeline import manifest, paths

log = logging.getLogger(__name__)
Stamps = dict[str, tuple[int, int, int, int]]  # device, inode, size and time of each file


@dataclass(frozen=True)
class Artifact:
    """A folder, every byte of which is what its manifest lists. Whoever uses the open model holds this very object."""

    folder: Path
    variant: str  # its name among the variants; that of the best one for best
    seal: str  # sha256 of its lines of sha256 and file name
    commit: str | None  # that recorded it, as far as the repository around knows
    stamps: Stamps = field(compare=False, repr=False)  # of its files before they were read


def verify_artifact(folder: Path) -> Artifact:
    """What a folder is; ValueError where a byte of it is not what the manifest in it or beside it lists.

    A folder that has no manifest is taken as it is.
    """
    try:
        stamps, present = read_stamps(folder), manifest.sha256_by_file(folder)
        facts, listed = read_facts(folder)
    except OSError as error:
        raise ValueError(f"{folder}: it cannot be read ({error}); fetch it again") from error
    if listed is None:
        log.warning("%s: there is no %s, so nothing tells whether it is whole", folder, manifest.MANIFEST)
    else:
        require_equal(folder, listed, present)
    lines = "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(present.items()))
    seal = hashlib.sha256(lines.encode()).hexdigest()
    return Artifact(folder, name_variant(folder, facts), seal, find_commit(facts), stamps)


def find_commit(facts: dict[str, Any]) -> str | None:
    """The newest commit whose dvc.lock names the merged model that was exported; None where Git knows none."""
    merged = facts.get("made_of", {}).get(str(paths.MERGED), "")
    return (lineage.find_commit(merged) or None) if shutil.which("git") else None


def read_facts(folder: Path) -> tuple[dict[str, Any], dict[str, str] | None]:
    """The manifest of a folder, in it or beside it, and the checksums of its files; nothing where there is none."""
    for place, prefix in ((folder, ""), (folder.parent, f"{folder.name}/")):
        if (place / manifest.MANIFEST).is_file():
            facts = manifest.read_manifest(place)
            files = {name: sha256 for name, sha256 in facts["files"].items() if name.startswith(prefix)}
            return facts, {name.removeprefix(prefix): sha256 for name, sha256 in files.items()}
    return {}, None


def require_equal(folder: Path, listed: dict[str, str], present: dict[str, str]) -> None:
    """ValueError that names each file which is missing, changed or not listed."""
    missing = [f"{name} is missing" for name in sorted(listed.keys() - present)]
    unlisted = [f"{name} is not listed" for name in sorted(present.keys() - listed)]
    both = sorted(listed.keys() & present)
    changed = [f"{name}: checksum mismatch" for name in both if listed[name] != present[name]]
    if problems := [*changed, *missing, *unlisted]:
        raise ValueError(f"{folder}: it is not what {manifest.MANIFEST} lists ({', '.join(problems)}); fetch it again")


def name_variant(folder: Path, facts: dict[str, Any]) -> str:
    """The name of a folder among the variants; the best one is one of them."""
    return str(facts.get("best", folder.name)) if folder.name == paths.BEST else folder.name


def same_files(folder: Path) -> Path:
    """The folder of the best variant, where the manifest says that it holds the same files; else the folder itself."""
    best = folder.parent / paths.BEST
    if folder != best and best.is_dir() and (listed := read_facts(folder)[1]) and listed == read_facts(best)[1]:
        return best
    return folder


def read_stamps(folder: Path) -> Stamps:
    """By which a file is known that was changed or replaced."""
    stats = {name: path.stat() for name, path in manifest.list_files(folder).items()}
    return {name: (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}
