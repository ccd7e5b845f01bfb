"""Where an artifact comes from, for the terminal: what it was made of, with what, and the commits that recorded it."""

import json
from pathlib import Path
from typing import Any

from refrain.experiments.text_tables import text_table
from refrain.pipeline import git, manifest, paths


def lineage_report(folder: Path) -> str:
    """Aligned facts about an artifact folder; without a Git repository around, no commits are named."""
    held, md5 = manifest.read_manifest(folder), manifest.dvc_md5(folder)
    facts = {
        "folder": str(folder),
        "md5": md5,
        **({"base": base_line(held["base"])} if "base" in held else {}),
        **held.get("made_of", {}),
        "best": f"{held['best']}, sha256 {manifest.content_hash(folder / paths.BEST)}",
        **({"cpu": held["cpu"]} if "cpu" in held else {}),
        **held.get("versions", {}),
    }
    return text_table([*facts.items(), *(("commit", line) for line in commits(md5))])


def base_line(base: dict[str, Any]) -> str:
    """The origin of a base model on one line: its plain facts, without the hashes of its files."""
    return json.dumps({key: value for key, value in base.items() if key != "files"}, ensure_ascii=False)


def commits(md5: str) -> list[str]:
    """The commits whose dvc.lock names what has this md5, newest first; one sentence if a repository knows none."""
    history = git.run_git("log", "--all", "--format=%H", "--", "dvc.lock").split()
    if not history:
        return []
    holding = git.run_git("grep", "-l", "-F", md5, *history, "--", "dvc.lock").splitlines()
    known = [line.partition(":")[0] for line in holding]
    if not known:
        return ["none of this repository recorded these files"]
    return git.run_git("log", "--no-walk", "--format=%h %cs %s", *known).splitlines()
