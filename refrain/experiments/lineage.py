"""Where an artifact comes from, for the terminal: what it was made of, with what, and the commits that recorded it."""

import json
from pathlib import Path
from typing import Any

from refrain.experiments.text_tables import text_table
from refrain.pipeline import git, manifest, paths


def lineage_report(folder: Path) -> str:
    """Aligned facts about an artifact folder; without a Git repository around, no commits are named."""
    facts_of, md5 = manifest.read_manifest(folder), manifest.dvc_md5(folder)
    facts = {
        "folder": str(folder),
        "md5": md5,
        **({"base": describe_base(facts_of["base"])} if "base" in facts_of else {}),
        **facts_of.get("made_of", {}),
        "best": f"{facts_of['best']}, sha256 {manifest.content_hash(folder / paths.BEST)}",
        **({"cpu": facts_of["cpu"]} if "cpu" in facts_of else {}),
        **facts_of.get("versions", {}),
    }
    return text_table([*facts.items(), *(("commit", line) for line in recording_commits(md5))])


def describe_base(base: dict[str, Any]) -> str:
    """The origin of a base model on one line: its plain facts, without the hashes of its files."""
    return json.dumps({key: value for key, value in base.items() if key != "files"}, ensure_ascii=False)


def recording_commits(md5: str) -> list[str]:
    """The commits whose dvc.lock names what has this md5, newest first; one sentence if a repository knows none."""
    history = git.run_git("log", "--all", "--format=%H", "--", "dvc.lock").split()
    if not history:
        return []
    holding = git.run_git("grep", "-l", "-F", md5, *history, "--", "dvc.lock").splitlines()
    recorded = [line.partition(":")[0] for line in holding]
    if not recorded:
        return ["none of this repository recorded these files"]
    return git.run_git("log", "--no-walk", "--format=%h %cs %s", *recorded).splitlines()
